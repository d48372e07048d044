// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import Handoff
import Testing
import Wire

/// Every table at its bound: what happens is stated, counted, and ends.
@Suite struct BoundsTests {
  @Test func fullTableSendsCookiesAndTakesThemWhenThereIsRoom() throws {
    let rig = Rig { $0.maximumConnections = 3 }
    let first = Client(rig, port: 1)
    for client in [first, Client(rig, port: 2), Client(rig, port: 3)] { try client.connect() }
    let late = Client(rig, port: 4)
    late.learn(try late.syn())
    #expect(rig.counters.packets[.synCookieSent] == 1)
    #expect(try late.send(.ack).isEmpty)
    #expect(rig.counters.packets[.tableFull] == 1)
    #expect(try first.send(.rst).isEmpty)
    _ = try late.request()
    #expect(rig.counters.packets[.cookieAccepted] == 1)
    #expect(rig.openConnections == 3)
    try rig.expectEmptyAfterAll()
  }

  @Test func exhaustedBuffersLeaveDataUnacknowledged() throws {
    let rig = Rig { $0.maximumBufferBytes = 3 * 2_048 }
    let clients = (1...4).map { Client(rig, port: UInt16($0)) }
    for client in clients { try client.connect() }
    for client in clients[..<3] { #expect(try client.send(.ack, "GET").count == 1) }
    #expect(rig.counters.bufferBytes == 3 * 2_048)
    #expect(try clients[3].send(.ack, "GET").isEmpty)
    #expect(try clients[3].send([.ack, .fin], "GET").isEmpty, "nor is a FIN taken whose data is not")
    #expect(rig.counters.packets[.bufferExhausted] == 2)
    #expect(try clients[0].send(.rst, at: 3).isEmpty)
    #expect(try clients[3].send(.ack, "GET").count == 1, "the retransmission finds room")
    try rig.expectEmptyAfterAll()
  }

  @Test func largerBufferNeedsRoomForBothWhileItIsCopied() throws {
    let rig = Rig { $0.maximumBufferBytes = 8_192 }
    let client = Client(rig)
    try client.connect()
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX: "
    _ = try client.send(.ack, head)
    let filler = String(repeating: "a", count: 1_200)
    var offset = head.utf8.count
    for _ in 0..<2 {
      #expect(try client.send(.ack, at: offset, filler).count == 1)
      offset += 1_200
    }
    #expect(rig.counters.bufferBytes == 4_096)
    for _ in 0..<2 where rig.counters.packets[.bufferExhausted] == 0 {
      if try client.send(.ack, at: offset, filler).count == 1 { offset += 1_200 }
    }
    #expect(rig.counters.packets[.bufferExhausted] == 1)
    let tail = "\r\n\r\n"
    #expect(try client.send(.ack, at: offset, tail).decision != nil, "what fits is still taken")
    try rig.expectEmptyAfterAll()
  }

  @Test func heldPacketsAreBoundedPerConnection() throws {
    let rig = Rig { $0.heldBytesPerConnection = 2_048 }
    let client = Client(rig)
    let id = try client.handOff(to: 1)
    let n = Client.get.utf8.count
    for index in 0..<5 {
      #expect(try client.send(.ack, at: n + index * 600, String(repeating: "b", count: 600)).isEmpty)
    }
    #expect(rig.counters.packets[.held] == 3)
    #expect(rig.counters.packets[.holdExhausted] == 2)
    #expect(try rig.accepted(id, by: 1).delivered.count == 3)
    #expect(rig.counters.heldBytes == 0)
  }

  @Test func heldPacketsAreBoundedInTotal() throws {
    let rig = Rig { $0.maximumHeldBytes = 4_096 }
    let clients = (1...3).map { Client(rig, port: UInt16($0)) }
    var names: [HandoffID] = []
    for client in clients { names.append(try client.handOff(to: 1)) }
    for client in clients { #expect(try client.send(.ack, at: Client.get.utf8.count, "more").isEmpty) }
    #expect(rig.counters.packets[.held] == 2)
    #expect(rig.counters.packets[.holdExhausted] == 1)
    for id in names { _ = try rig.accepted(id, by: 1) }
    try rig.expectEmptyAfterAll()
  }

  @Test func slotsAreUsedAgainUnderNewNames() throws {
    let rig = Rig { $0.maximumConnections = 1 }
    var names: Set<HandoffID> = []
    for round in 0..<20 {
      let client = Client(rig, port: UInt16(1_000 + round))
      let id = try client.handOff(to: 1)
      #expect(id.slot == 0)
      #expect(names.insert(id).inserted)
      _ = try rig.accepted(id, by: 1)
      _ = try rig.pass(seconds: 1.2)
    }
    for id in names { #expect(try rig.accepted(id, by: 1) == [.abort(id, backEnd: 1)]) }
  }

  @Test func namesOfNoSlotAreHarmless() throws {
    let rig = Rig()
    let id = HandoffID(slot: 99_999, generation: 1)
    #expect(try rig.decided(id, .backEnd(1)) == [.returned(1)])
    #expect(try rig.accepted(id, by: 1) == [.abort(id, backEnd: 1)])
    #expect(try rig.refused(id, .overloaded).isEmpty)
  }

  @Test func countersHaveUniqueNames() {
    let counters = Rig().counters
    let names =
      counters.all.map(\.name) + counters.packets.all.map { "packet." + $0.name }
      + counters.connections.all.map { "connection." + $0.name } + counters.attempts.all.map { "attempt." + $0.name }
      + counters.handshakes.all.map { "handshake." + $0.name }
    #expect(Set(names).count == names.count)
    #expect(names.contains("packet.bad_tcp_checksum") && names.contains("packet.not_tcp"))
    #expect(names.contains("packet.data_out_of_order") && names.contains("connection.answered400"))
    #expect(names.allSatisfy { !$0.contains("__") && $0 == $0.lowercased() }, "\(names)")
  }
}
