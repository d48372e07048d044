// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

struct AttachmentTests {
  private func configuration(_ attachment: TrafficAttachment = .auto) -> ForwardingPlaneConfiguration {
    ForwardingPlaneConfiguration(capacity: 1024, localMark: TestInterface.localMark, attachment: attachment)
  }

  @Test(arguments: TrafficAttachment.both) func detachLeavesNothing(_ attachment: TrafficAttachment) throws {
    let interface = try TestInterface()
    try interface.namespace.perform {
      let plane = try ForwardingPlane.attach(interface: "d0", configuration: configuration(attachment))
      try plane.detach()
    }
    #expect(try interface.trafficControl() == "")
  }

  @Test func aFilterIsShownByItsName() throws {
    let interface = try TestInterface()
    let plane = try interface.attach(.clsact)
    let shown = try interface.trafficControl()
    #expect(shown.contains("qdisc clsact"))
    #expect(shown.contains("pref \(FilterHook.priority) "))
    #expect(shown.contains("handoff_forward"))
    #expect(plane.adoption == .fresh)
  }

  @Test(arguments: TrafficAttachment.both) func aForeignQdiscStays(_ attachment: TrafficAttachment) throws {
    let interface = try TestInterface()
    try interface.namespace.run(["tc", "qdisc", "add", "dev", "d0", "clsact"]).checked()
    try interface.namespace.perform {
      try ForwardingPlane.attach(interface: "d0", configuration: configuration(attachment)).detach()
    }
    let shown = try interface.trafficControl()
    #expect(shown.contains("qdisc clsact"))
    #expect(!shown.contains("filter"))
  }

  @Test(arguments: ["ingress", "egress"])
  func aForeignFilterKeepsTheQdisc(hook: String) throws {
    let interface = try TestInterface()
    let namespace = interface.namespace
    try namespace.perform {
      let plane = try ForwardingPlane.attach(interface: "d0", configuration: configuration(.clsact))
      try namespace.run(["tc", "filter", "add", "dev", "d0", hook, "bpf", "da", "bytecode", "1,6 0 0 0"]).checked()
      try plane.detach()
    }
    let shown = try interface.trafficControl()
    #expect(shown.contains("qdisc clsact"))
    #expect(!shown.contains("handoff_forward"))
    #expect(shown.contains("bytecode"))
  }

  /// A process that dies leaves program and flows; packets are forwarded meanwhile, and the next process goes on.
  @Test(arguments: TrafficAttachment.both) func flowsOutliveTheirProcess(_ attachment: TrafficAttachment) throws {
    let interface = try TestInterface()
    let link = try interface.namespace.perform { try RawLink("d1") }
    let frame = Frame.tcp(Addresses.flow4, .ack)
    do {
      let plane = try interface.attach(attachment)
      try plane.setServices([Addresses.service4])
      try plane.flows.insert(Addresses.flow4, .forwarding(handoff: 42))
      try plane.flows.insert(Addresses.flow6, .local())
    }
    // Nobody holds a descriptor of the maps now.
    try link.send(frame)
    #expect(try link.receive() == frame.forwarded(to: Addresses.backEndMAC))

    let index = interface.index
    try interface.namespace.perform {
      let plane = try ForwardingPlane.attach(
        interface: "d0",
        configuration: ForwardingPlaneConfiguration(capacity: 1024, localMark: 0x77, attachment: attachment))
      try checkAdopted(plane, index)
      try plane.detach()
    }
    #expect(try interface.trafficControl() == "", "who adopts the qdisc removes it")
  }

  private func checkAdopted(_ plane: borrowing ForwardingPlane, _ index: UInt32) throws {
    try expect(plane.adoption == .maps(flows: 2), "\(plane.adoption)")
    try expect(plane.adoptedFlows == 2)
    try expect(plane.flows.occupied == 2)
    try expect(plane.flows.lookup(Addresses.flow4)?.handoff == HandoffID(42))
    try expect(plane.flows.lookup(Addresses.flow6)?.action == .deliverLocally)
    try expect(plane.counters()[.forwarded] == 1, "counters go on")
    // Services are the predecessor's until they are set.
    let before = try plane.run(Frame.tcp(Addresses.flow4, .ack), interface: index)
    try expect(before.outcomes == [.forwarded], "\(before)")
    try plane.setServices([Addresses.service6])
    let after = try plane.run(Frame.tcp(Addresses.flow4, .ack), interface: index)
    try expect(after.outcomes == [.notService], "\(after)")
    // The mark is the new process' own.
    let local = try plane.run(Frame.tcp(Addresses.flow6, .ack), interface: index)
    try expect(local.mark == 0x77, "\(local)")
  }

  @Test func aTableOfAnotherSizeIsCopied() throws {
    let interface = try TestInterface()
    do {
      let plane = try interface.attach(capacity: 100)
      for port in 0..<100 as Range<UInt16> {
        try plane.flows.insert(
          FlowTuple(client: Endpoint(Addresses.client6.address, port), service: Addresses.service6),
          .forwarding(handoff: UInt64(port), lastSeen: 5))
      }
    }
    do {
      let larger = try interface.attach(capacity: 200)
      #expect(larger.adoption == .copied(flows: 100, lost: 0))
      #expect(larger.flows.occupied == 100)
      let flow = FlowTuple(client: Endpoint(Addresses.client6.address, 17), service: Addresses.service6)
      #expect(larger.flows.lookup(flow) == .forwarding(handoff: 17, lastSeen: 5))
    }
    let smaller = try interface.attach(capacity: 64)
    #expect(smaller.adoption == .copied(flows: 64, lost: 36))
    #expect(smaller.flows.occupied == 64)
  }

  @Test(arguments: TrafficAttachment.both)
  func mapsOfAnotherLayoutAreReplaced(_ attachment: TrafficAttachment) throws {
    let interface = try TestInterface()
    do {
      let plane = try interface.attach(attachment)
      try plane.flows.insert(Addresses.flow4, .forwarding())
      var zero: UInt32 = 0
      var state = handoff_state(layout_version: 99, local_mark: 0, created_qdisc: 1, zero: 0)
      #expect(unsafe bpf_map_update_elem(plane.stateMap.raw, &zero, &state, 0) == 0)
    }
    try interface.namespace.perform {
      let plane = try ForwardingPlane.attach(interface: "d0", configuration: configuration(attachment))
      try expect(plane.adoption == .replaced(.otherLayout(version: 99)), "\(plane.adoption)")
      try expect(plane.adoptedFlows == 0)
      try expect(plane.flows.occupied == 0)
      try plane.detach()
    }
    #expect(try interface.trafficControl() == "")
  }

  @Test func aForeignFilterAtThePlaceIsNotTouched() throws {
    let interface = try TestInterface()
    try interface.namespace.perform {
      let filter = try TrafficHook(interface: "d0").filter
      _ = try filter.createQdisc()
      _ = try filter.attach(Stranger("stranger").program)
    }
    #expect(throws: ForwardingPlaneError.hookTaken(interface: "d0", program: "stranger")) {
      try interface.namespace.perform {
        _ = try ForwardingPlane.attach(interface: "d0", configuration: configuration(.clsact))
      }
    }
    #expect(try interface.trafficControl().contains("stranger"))
  }

  @Test(arguments: TrafficAttachment.both)
  func aSuccessorsProgramIsNotDetached(_ attachment: TrafficAttachment) throws {
    let interface = try TestInterface()
    try interface.namespace.perform {
      let first = try ForwardingPlane.attach(interface: "d0", configuration: configuration(attachment))
      _ = try ForwardingPlane.attach(interface: "d0", configuration: configuration(attachment))
      try first.detach()
    }
    #expect(try interface.trafficControl().contains("handoff_forward"))
  }

  @Test func errorsSayWhatIsWrong() throws {
    let interface = try TestInterface()
    #expect(throws: ForwardingPlaneError.noSuchInterface("nope0")) {
      try interface.namespace.perform {
        _ = try ForwardingPlane.attach(interface: "nope0", configuration: configuration())
      }
    }
    for capacity in [-1, 0, 63, 1 << 25] {
      #expect {
        _ = try interface.attach(capacity: capacity)
      } throws: { "\($0)".contains("\(capacity) flows") }
    }
    #expect(try interface.trafficControl() == "")
    let plane = try interface.attach()
    let many = (0...1024).map { Endpoint(Addresses.service4.address, UInt16($0)) }
    #expect(throws: ForwardingPlaneError.tooManyServices(count: 1025, limit: 1024)) { try plane.setServices(many) }
    try plane.setServices(Array(many.dropLast()))
    try plane.setServices(Array(many.dropFirst()))
  }

  /// An object that the verifier does not take: its log is in the message.
  @Test func theVerifiersWordsAreInTheMessage() throws {
    var object = LoadedProgram.embeddedObject()
    // The call of bpf_ktime_get_coarse_ns (helper 160) becomes one of a helper that there is not.
    let call: [UInt8] = [0x85, 0, 0, 0, 160, 0, 0, 0]
    let place = try #require((0..<object.count - 8).first { Array(object[$0..<$0 + 8]) == call })
    object[place + 5] = 0x7f
    do {
      _ = try LoadedProgram.load(object, for: "d0", capacity: 64, reusing: nil)
      Issue.record("the verifier took an unknown helper")
    } catch {
      guard case .programRejected(_, let log) = error else { throw error }
      #expect(log.contains("func"), "\(log)")
      #expect("\(error)".contains(log))
    }
  }
}

struct Unexpected: Error, CustomStringConvertible {
  var description: String
}

/// `#expect` for bodies that run on threads the test framework knows nothing of.
func expect(
  _ condition: Bool, _ what: String = "", line: Int = #line
) throws {
  if !condition { throw Unexpected(description: "line \(line): \(what)") }
}
