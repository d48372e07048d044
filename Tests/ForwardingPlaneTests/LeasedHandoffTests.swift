// SPDX-License-Identifier: Apache-2.0

import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// Connections that the program hands off by itself, under leases.
struct LeasedHandoffTests {
  struct Way: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var flow: FlowTuple
    var overIPv4: Bool
    var byTunnel: Bool

    static let all = [
      Way(testDescription: "IPv4, neighbour", flow: Addresses.flow4, overIPv4: true, byTunnel: false),
      Way(testDescription: "IPv6, neighbour", flow: Addresses.flow6, overIPv4: false, byTunnel: false),
      Way(testDescription: "IPv6, neighbour by IPv4", flow: Addresses.flow6, overIPv4: true, byTunnel: false),
      Way(testDescription: "IPv4, tunnel", flow: Addresses.flow4, overIPv4: true, byTunnel: true),
      Way(testDescription: "IPv4, tunnel over IPv6", flow: Addresses.flow4, overIPv4: false, byTunnel: true),
    ]

    func node(_ bench: LeaseBench) throws -> LeaseNode {
      var node = bench.neighbour(overIPv4: overIPv4)
      if byTunnel { node.reach = .tunnel(try bench.plane.tunnels.number(of: node.tunnel, now: 0)) }
      return node
    }
  }

  /// What clients offer.
  struct Offer: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var options: TCPOptions

    static let all = [
      Offer(testDescription: "all options", options: LeasedClient.options),
      Offer(testDescription: "no options", options: TCPOptions()),
      Offer(testDescription: "segment size", options: TCPOptions(maximumSegmentSize: 1460)),
      Offer(testDescription: "scale 0", options: TCPOptions(maximumSegmentSize: 1000, windowScale: 0)),
      Offer(
        testDescription: "scale 14 and timestamps",
        options: TCPOptions(windowScale: 14, timestamps: TCPTimestamps(value: 1, echo: 0))),
      Offer(testDescription: "scale 11 without timestamps", options: TCPOptions(windowScale: 11, sackPermitted: true)),
    ]
  }

  @Test func targetsAreCommonToAllWorkersAndCreditsAreNot() throws {
    let bench = try LeaseBench()
    let other = bench.plane.leases.lender(worker: 1, origin: 77)
    bench.lender.setNode(LeaseBench.backEnd, bench.neighbour())
    other.setNode(LeaseBench.backEnd, bench.neighbour())
    other.setTarget(LeaseBench.hash(LeaseBench.page), backEnd: LeaseBench.backEnd, until: LeaseBench.later)
    other.lend(5, of: LeaseBench.backEnd, term: 9, until: LeaseBench.later)
    let client = try LeasedClient(bench, Way.all[0].flow, TCPOptions())
    #expect(try bench.run(client.request(LeasedClient.get())).outcomes != [.handedOff])
    bench.lender.lend(1, of: LeaseBench.backEnd, term: 9, until: LeaseBench.later)
    let next = try LeasedClient(bench, Way.all[1].flow, TCPOptions())
    #expect(try bench.run(next.request(LeasedClient.get())).outcomes == [.handedOff])
    #expect(bench.reclaim() == 0 && other.reclaim(LeaseBench.backEnd) == 5)
  }

  /// Byte for byte the datagram that a worker sends for the same connection, around the client's own packet.
  @Test(arguments: Way.all, Offer.all) func theDatagramIsThatOfAWorker(_ way: Way, _ offer: Offer) throws {
    let bench = try LeaseBench()
    let node = try way.node(bench)
    bench.lend(node)
    let client = try LeasedClient(bench, way.flow, offer.options)
    let request = LeasedClient.get()
    let frame = client.request(request)
    let before = MonotonicTime.now()
    let seen = try bench.run(frame)
    #expect(seen.outcomes == [.handedOff] && seen.verdict == .redirect)
    let bytes = seen.frame.bytes
    let outer = way.overIPv4 ? 28 : 48
    let start = Frame.ipStart + outer
    #expect(Array(bytes[(start + HandoffPacket.headerLength)...]) == frame.packet, "the client's packet, untouched")
    var headers = [UInt8](repeating: 0, count: bytes.count - Frame.ipStart)
    var span = headers.mutableSpan
    DatagramHeaders.emit(
      from: Endpoint(node.tunnel.source, LeaseBench.offer.port), to: Endpoint(node.tunnel.node, LeaseBench.offer.port),
      payload: bytes.count - start, into: &span)
    #expect(Array(bytes[Frame.ipStart..<start]) == Array(headers[..<outer]))
    if !way.byTunnel {
      #expect(Array(bytes[0..<12]) == Addresses.backEndMAC.bytes + Addresses.ownMAC.bytes)
      #expect(Array(bytes[12..<14]) == (way.overIPv4 ? [0x08, 0x00] : [0x86, 0xdd]))
    }
    let told = bench.told()
    let handoff = try #require(told.count == 1 ? told[0].handoff : nil)
    #expect(told[0].packet == frame.packet)
    #expect(handoff.id.isByKernel && handoff.backEnd == LeaseBench.backEnd && handoff.term == 9 && handoff.epoch == 0)
    #expect(handoff.target == LeaseBench.hash(LeaseBench.page))

    let header = Array(bytes[start..<start + HandoffPacket.headerLength])
    let next = header[28..<32].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    let snapshot = Self.snapshot(client, request, nextValue: next)
    if let theirs = client.synAck.options.timestamps {
      // One clock: after what the SYN-ACK said, and as far as the time went since, in milliseconds.
      let elapsed = Int32(truncatingIfNeeded: next &- theirs.value)
      #expect(elapsed > 0 && elapsed <= 4 + Int32((MonotonicTime.now() - before) / 1_000_000) + 1000)
    }
    let packet = HandoffPacket(
      origin: LeaseBench.origin, id: handoff.id, loop: LeaseBench.offer.loop, snapshot: snapshot)
    var expected = [UInt8](repeating: 0, count: packet.length(requestBytes: request.utf8.count))
    var expectedSpan = expected.mutableSpan
    _ = packet.emit(request: Array(request.utf8).span, key: LeaseBench.key, into: &expectedSpan)
    #expect(header == Array(expected[..<HandoffPacket.headerLength]))

    let entry = try #require(bench.plane.flows.lookup(way.flow))
    #expect(entry.action == node.reach && entry.handoff == handoff.id && entry.backEnd == LeaseBench.backEnd)
    #expect(entry.clientISN == SequenceNumber(client.isn) && entry.seen == [])
    #expect(entry.sendNext == UInt16(truncatingIfNeeded: client.synAck.sequence.rawValue &+ 1))
    // The next packet follows.
    let next2 = try bench.run(client.request("", flags: .ack, at: UInt32(request.utf8.count)))
    #expect(next2.outcomes == [way.byTunnel ? .tunnelled : .forwarded])
    #expect(bench.told().isEmpty && bench.reclaim() == 0)
  }

  private static func snapshot(_ client: LeasedClient, _ request: String, nextValue: UInt32) -> TCPSnapshot {
    let offered = client.offered
    // What a cookie can say: sizes and scales are rounded down, with timestamps the scale is exact up to 13.
    let size = [1460, 1440, 1412, 1380, 1300, 1220, 1024, 536].first {
      $0 <= Int(offered.maximumSegmentSize ?? (client.flow.client.address.isIPv4 ? 536 : 1220))
    }
    let said: [UInt8] = offered.timestamps != nil ? Array((0...13).reversed()) : [10, 8, 7, 6, 4, 2, 0]
    let scale = offered.windowScale.flatMap { wanted in said.first { $0 <= wanted } }
    return TCPSnapshot(
      flow: client.flow, sendNext: client.synAck.sequence.advanced(by: 1),
      receiveNext: SequenceNumber(client.isn).advanced(by: 1 + request.utf8.count),
      clientInitialSequence: SequenceNumber(client.isn), sendWindow: 512, receiveWindow: 65_535,
      maximumSegmentSize: UInt16(size ?? 536),
      windowScale: scale.map { TCPSnapshot.WindowScale(send: $0, receive: 7) }, sackPermitted: offered.sackPermitted,
      timestamps: offered.timestamps.map { _ in .init(nextValue: nextValue, recent: 701) })
  }

  /// Something about one request for which the program has a lease.
  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var isHandedOff = false
    var outcome = ForwardingOutcome.toUserSpace
    var change: @Sendable (LeaseBench, LeasedClient) throws -> Frame

    static func text(_ name: String, _ text: String, isHandedOff: Bool = false) -> Case {
      Case(testDescription: name, isHandedOff: isHandedOff) { _, client in client.request(text) }
    }

    static let all: [Case] = [
      text("the request", LeasedClient.get(), isHandedOff: true),
      text("HTTP/1.0", "GET \(LeaseBench.page) HTTP/1.0\r\n\r\n", isHandedOff: true),
      text("two requests at once", LeasedClient.get() + LeasedClient.get("/other"), isHandedOff: true),
      Case(testDescription: "a checksum that a device completes", isHandedOff: true) { _, client in
        client.request(LeasedClient.get(), checksum: .open)
      },
      text("another target", LeasedClient.get("/index.html?x=2")),
      text("the target and more", LeasedClient.get(LeaseBench.page + "0")),
      text("a part of the target", LeasedClient.get("/index.html?x=")),
      text("HEAD", "HEAD \(LeaseBench.page) HTTP/1.1\r\n\r\n"),
      text("POST", "POST \(LeaseBench.page) HTTP/1.1\r\n\r\n"),
      text("lower case", "get \(LeaseBench.page) HTTP/1.1\r\n\r\n"),
      text("HTTP/2.0", "GET \(LeaseBench.page) HTTP/2.0\r\n\r\n"),
      text("HTTP/1.2", "GET \(LeaseBench.page) HTTP/1.2\r\n\r\n"),
      text("HTTP/0.9", "GET \(LeaseBench.page)\r\n\r\n"),
      text("two spaces", "GET  \(LeaseBench.page) HTTP/1.1\r\n\r\n"),
      text("a head that goes on", "GET \(LeaseBench.page) HTTP/1.1\r\nHost: a"),
      text("lines that end in LF", "GET \(LeaseBench.page) HTTP/1.1\n\n"),
      text("a body behind the head", LeasedClient.get() + "body"),
      text("one byte", "G"),
      text("no target", "GET  HTTP/1.1\r\n\r\n"),
      Case(testDescription: "FIN") { _, client in client.request(LeasedClient.get(), flags: [.ack, .fin]) },
      Case(testDescription: "not the first byte") { _, client in client.request(LeasedClient.get(), at: 1) },
      Case(testDescription: "a cookie that nobody made") { _, client in
        client.request(LeasedClient.get(), acknowledging: 1)
      },
      Case(testDescription: "options in another order") { _, client in
        client.request(LeasedClient.get(), options: client.timestamps.suffix(10) + [1, 1])
      },
      Case(testDescription: "padded to a longer frame") { _, client in client.request(LeasedClient.get()).padded(by: 2)
      },
      Case(testDescription: "longer than a datagram") { _, client in
        client.request(LeasedClient.get(rest: "X: " + String(repeating: "x", count: 1300) + "\r\n\r\n"))
      },
      Case(testDescription: "no credit") { bench, client in
        _ = bench.reclaim()
        return client.request(LeasedClient.get())
      },
      Case(testDescription: "credits whose time is over") { bench, client in
        bench.lender.lend(0, of: LeaseBench.backEnd, term: 9, until: 1)
        return client.request(LeasedClient.get())
      },
      Case(testDescription: "a target whose time is over") { bench, client in
        bench.lender.setTarget(LeaseBench.hash(LeaseBench.page), backEnd: LeaseBench.backEnd, until: 1)
        return client.request(LeasedClient.get())
      },
      Case(testDescription: "a target that was forgotten") { bench, client in
        bench.lender.forgetTarget(LeaseBench.hash(LeaseBench.page))
        return client.request(LeasedClient.get())
      },
      Case(testDescription: "another epoch") { bench, client in
        bench.lender.forgetTargets()
        return client.request(LeasedClient.get())
      },
      Case(testDescription: "another epoch, which another worker began") { bench, client in
        var other = bench.plane.leases.lender(worker: 1, origin: 77)
        other.forgetTargets()
        return client.request(LeasedClient.get())
      },
      Case(testDescription: "a back-end without a way") { bench, client in
        bench.lender.setNode(LeaseBench.backEnd, nil)
        return client.request(LeasedClient.get())
      },
      Case(testDescription: "a back-end on this node") { bench, client in
        var node = bench.neighbour()
        node.reach = .deliverLocally
        #expect(!bench.show(node))
        return client.request(LeasedClient.get())
      },
      Case(testDescription: "a listener of the other family") { bench, client in
        var node = bench.neighbour()
        node.offer.takesIPv4 = false
        bench.lender.setNode(LeaseBench.backEnd, node)
        return client.request(LeasedClient.get())
      },
      Case(testDescription: "a worker that has stopped lending") { bench, client in
        bench.lender.close()
        return client.request(LeasedClient.get())
      },
      Case(testDescription: "a worker that is dead", outcome: .unattended) { bench, client in
        bench.plane.handshake.keepAlive(worker: 0, until: MonotonicTime.now() - 20_000_000)
        return client.request(LeasedClient.get())
      },
      Case(testDescription: "a node that drains") { bench, client in
        bench.plane.handshake.drain()
        return client.request(LeasedClient.get())
      },
      Case(testDescription: "a connection that the worker has") { bench, client in
        bench.lender.claim(client.flow, clientInitial: SequenceNumber(client.isn))
        return client.request(LeasedClient.get())
      },
      Case(testDescription: "the worker had the last connection of the port", isHandedOff: true) { bench, client in
        bench.lender.claim(client.flow, clientInitial: SequenceNumber(client.isn &- 1))
        return client.request(LeasedClient.get())
      },
    ]
  }

  @Test(arguments: Case.all) func onlyWhatIsSureIsHandedOff(_ example: Case) throws {
    let bench = try LeaseBench()
    bench.lend()
    let client = try LeasedClient(bench, Addresses.flow4)
    let seen = try bench.run(try example.change(bench, client))
    #expect(seen.outcomes == [example.isHandedOff ? .handedOff : example.outcome])
    let told = bench.told()
    #expect(told.count == (example.outcome == .unattended ? 0 : 1))
    #expect(told.allSatisfy { ($0.handoff != nil) == example.isHandedOff })
    #expect((bench.plane.flows.lookup(client.flow) != nil) == example.isHandedOff)
  }

  /// Requests whose target is known, of every length: the hash is that of user space.
  @Test func targetsOfAllLengths() throws {
    let bench = try LeaseBench()
    var random = SeededRandom(seed: 5)
    for length in 1...140 as ClosedRange<UInt16> {
      let letters = "abcdefghijklmnopqrstuvwxyz0123456789%._-~?&=+"
      let target = "/" + String((1..<length).map { _ in letters.randomElement(using: &random)! })
      bench.lend(target: target)
      let flow = FlowTuple(client: Endpoint(Addresses.client4.address, 2000 + length), service: Addresses.service4)
      let client = try LeasedClient(bench, flow)
      let seen = try bench.run(client.request(LeasedClient.get(target)))
      #expect(seen.outcomes == [length <= 128 ? .handedOff : .toUserSpace], "length \(length) \(target)")
      _ = bench.reclaim()
      _ = bench.told()
    }
  }

  @Test func aCreditIsForOneConnection() throws {
    let bench = try LeaseBench()
    bench.lend(credits: 3)
    var outcomes: [ForwardingOutcome] = []
    for port in 1...5 as ClosedRange<UInt16> {
      let flow = FlowTuple(client: Endpoint(Addresses.client6.address, port), service: Addresses.service6)
      let client = try LeasedClient(bench, flow)
      outcomes += try bench.run(client.request(LeasedClient.get())).outcomes
    }
    #expect(outcomes == [.handedOff, .handedOff, .handedOff, .toUserSpace, .toUserSpace])
    #expect(Set(bench.told().compactMap(\.handoff).map(\.id)).count == 3)
  }

  /// What went to user space stays there: the worker may have handed it off when the client repeats it.
  @Test func aRepeatedRequestIsNotPlacedTwice() throws {
    let bench = try LeaseBench()
    let client = try LeasedClient(bench, Addresses.flow4)
    bench.lend(target: "/other", credits: 9)
    let frame = client.request(LeasedClient.get())
    #expect(try bench.run(frame).outcomes == [.toUserSpace])
    bench.lender.setTarget(LeaseBench.hash(LeaseBench.page), backEnd: LeaseBench.backEnd, until: LeaseBench.later)
    #expect(try bench.run(frame).outcomes == [.toUserSpace])
    // The port's next connection is another one.
    let next = try LeasedClient(bench, Addresses.flow4, isn: 0x2000)
    #expect(try bench.run(next.request(LeasedClient.get())).outcomes == [.handedOff])
    // And what was handed off is not handed off twice either.
    #expect(try bench.run(next.request(LeasedClient.get())).outcomes == [.forwarded])
  }

  @Test func withoutRoomInTheFlowTableUserSpaceIsAsked() throws {
    let bench = try LeaseBench()
    bench.lend(credits: 9)
    for port in 1...2000 as ClosedRange<UInt16> {
      let flow = FlowTuple(client: Endpoint(IPAddress(ipv4: 0x0a00_0001), port), service: Addresses.service4)
      do { try bench.plane.flows.insert(flow, .forwarding()) } catch { break }
    }
    let client = try LeasedClient(bench, Addresses.flow4)
    #expect(try bench.run(client.request(LeasedClient.get())).outcomes == [.toUserSpace])
    #expect(bench.reclaim() == 9)
  }

  @Test func aRingThatIsFullTakesNothing() throws {
    let bench = try LeaseBench()
    bench.ring = try bench.plane.handshake.openRing(worker: 0, size: 4096)
    bench.lend(credits: 100)
    var outcomes: [ForwardingOutcome] = []
    for port in 1...20 as ClosedRange<UInt16> {
      let flow = FlowTuple(client: Endpoint(Addresses.client4.address, port), service: Addresses.service4)
      let client = try LeasedClient(bench, flow)
      outcomes += try bench.run(client.request(LeasedClient.get())).outcomes
    }
    let made = outcomes.filter { $0 == .handedOff }.count
    #expect(made > 0 && outcomes.filter { $0 == .ringFull }.count == 20 - made)
    #expect(bench.told().count == made)
    #expect(bench.reclaim() == UInt32(100 - made), "what was not made costs no credit")
  }

  /// A handoff wakes a worker that nobody woke for a while, and none that has just looked; its clock is finer than the
  /// program's.
  @Test func aWorkerThatLooksIsNotWoken() throws {
    let bench = try LeaseBench()
    bench.lend(credits: 9)
    var epoll = try Epoll()
    try epoll.add(bench.ring.descriptor, .read, token: 1)
    func handOff(_ port: UInt16) throws {
      let flow = FlowTuple(client: Endpoint(Addresses.client4.address, port), service: Addresses.service4)
      let client = try LeasedClient(bench, flow)
      #expect(try bench.run(client.request(LeasedClient.get())).outcomes == [.handedOff])
    }
    try handOff(1)
    #expect(epoll.wait(until: MonotonicTime.now() + 5_000_000_000) == 1)
    #expect(bench.told().count == 1)
    _ = epoll.wait(until: 0)
    bench.lender.promiseToLook(until: MonotonicTime.now() + 100_000_000)
    for port in 2...4 as ClosedRange<UInt16> { try handOff(port) }
    #expect(epoll.wait(until: MonotonicTime.now() + 50_000_000) == 0)
    #expect(bench.told().count == 3)
    bench.lender.promiseToLook(until: MonotonicTime.now() - 50_000_000)
    try handOff(5)
    #expect(epoll.wait(until: MonotonicTime.now() + 5_000_000_000) == 1)
  }

  /// A port whose last connection is over, known by the client's FIN alone.
  @Test func theNextConnectionOfAPortIsHandedOff() throws {
    let bench = try LeaseBench()
    bench.lend(credits: 2)
    let first = try LeasedClient(bench, Addresses.flow4)
    #expect(try bench.run(first.request(LeasedClient.get())).outcomes == [.handedOff])
    #expect(try bench.run(first.request("", flags: [.ack, .fin], at: 60)).outcomes == [.forwarded])
    let second = try LeasedClient(bench, Addresses.flow4, isn: 0x9000)
    #expect(try bench.run(second.request(LeasedClient.get())).outcomes == [.handedOff])
    let told = bench.told().compactMap(\.handoff)
    #expect(told.count == 2 && bench.plane.flows.lookup(Addresses.flow4)?.handoff == told[1].id)
  }
}
