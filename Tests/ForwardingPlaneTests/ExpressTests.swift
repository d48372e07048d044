// SPDX-License-Identifier: Apache-2.0

import Glibc
import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// Programs at tcx: who is there, in which order, and what a predecessor left.
@Suite(.enabled(if: TrafficAttachment.hasTCX))
struct ExpressTests {
  private let interface: TestInterface
  private let hook: TCXHook

  init() throws {
    interface = try TestInterface()
    hook = TCXHook(interface: interface.index)
  }

  private func install(
    _ place: TrafficHook.Place, _ attachment: TrafficAttachment = .auto
  ) throws -> InstalledProgram {
    try interface.namespace.perform {
      try TrafficHook(interface: "d0", place: place, attachment).install(Stranger(place.programs[0]).program)
    }
  }

  private func remove(_ program: InstalledProgram) throws {
    try interface.namespace.perform { try program.remove() }
  }

  @Test func theProgramIsThereAndNoQdisc() throws {
    let plane = try interface.attach()
    #expect(plane.adoption == .fresh)
    #expect(try interface.trafficControl() == "tcx ingress handoff_forward\n")
  }

  /// The kernel cuts names; what it keeps is what is looked for.
  @Test func theNamesAreThoseThatTheKernelKeeps() throws {
    let exit = try interface.namespace.perform { try TunnelExit.attach(interface: "d0") }
    let plane = try interface.attach()
    let serve = try LoadedServeObject.load()
    let shown: [(SharedDescriptor, TrafficHook.Place, Int)] = [
      (exit.program, .tunnelExit, 0), (plane.program, .forwarding, 0), (serve.serve, .serving, 0),
      (serve.silence, .silencing, 0), (serve.idle, .silencing, 1),
    ]
    for (program, place, index) in shown {
      let id = try KernelProgram.identifier(of: program)
      #expect(try KernelProgram(id)?.name == place.programs[index])
    }
    let names = TrafficHook.Place.allCases.flatMap(\.programs)
    #expect(Set(names).count == names.count)
    #expect(names.allSatisfy { $0.utf8.count <= 15 })
  }

  /// Whichever is attached first, packets meet them in one order; and a successor's is where its predecessor's was.
  @Test(arguments: [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2], [2, 0, 1], [0, 2, 1]])
  func thePlacesKeepTheirOrder(_ order: [Int]) throws {
    let places: [TrafficHook.Place] = [.tunnelExit, .forwarding, .serving]
    let names = places.map { $0.programs[0] }
    let first = try order.map { try install(places[$0]) }
    #expect(try interface.express() == names)
    let second = try order.reversed().map { try install(places[$0]) }
    #expect(try interface.express() == names)
    for program in first { try remove(program) }
    #expect(try interface.express() == names, "those of successors stay")
    for program in second { try remove(program) }
    #expect(try interface.trafficControl() == "")
  }

  /// An agent whose interface is `lo` has one hook twice.
  @Test func aProgramThatIsThereStays() throws {
    let program = try Stranger("handoff_serve").program
    let installed = try (0..<2).map { _ in
      try interface.namespace.perform { try TrafficHook(interface: "d0", place: .serving).install(program) }
    }
    #expect(try interface.express() == ["handoff_serve"])
    for one in installed { try remove(one) }
    #expect(try interface.trafficControl() == "")
  }

  @Test func strangersKeepTheirOrder() throws {
    let strangers = try ["first", "second", "third"].map { try Stranger($0).program }
    try interface.namespace.perform { for one in strangers { try hook.attach(one.raw, .last) } }
    let forwarding = try install(.forwarding)
    #expect(try interface.express() == ["first", "second", "third", "handoff_forward"])
    let late = try Stranger("late").program
    try interface.namespace.perform { try hook.attach(late.raw, .last) }
    let serving = try install(.serving)
    let exit = try install(.tunnelExit)
    #expect(
      try interface.express() == [
        "first", "second", "third", "handoff_decapsu", "handoff_forward", "handoff_serve", "late",
      ])
    let again = try install(.forwarding)
    for program in [serving, exit, forwarding, again] { try remove(program) }
    #expect(try interface.express() == ["first", "second", "third", "late"])
  }

  /// Strangers before and after ours run, and see what ours passes on; filters of clsact come after all of them.
  @Test func othersSeeThePacketsToo() throws {
    let (before, after) = (try Stranger("before", bit: 1), try Stranger("after", bit: 2))
    try interface.namespace.perform { try hook.attach(before.program.raw, .last) }
    let plane = try interface.attach()
    try interface.namespace.perform { try hook.attach(after.program.raw, .last) }
    try interface.namespace.run(["tc", "qdisc", "add", "dev", "d0", "clsact"]).checked()
    // Drops what has both marks (the extension SKF_AD_MARK of classic BPF).
    let judge = "4,32 0 0 4294963220,21 0 1 3,6 0 0 2,6 0 0 4294967295"
    try interface.namespace.run(
      ["tc", "filter", "add", "dev", "d0", "ingress", "bpf", "da", "bytecode", judge]
    ).checked()
    try plane.setServices([Addresses.service4])
    try plane.flows.insert(Addresses.flow4, .forwarding())
    let link = try interface.namespace.perform { try RawLink("d1") }
    try link.send(Frame.tcp(Addresses.flow6, .ack))
    let frame = Frame.tcp(Addresses.flow4, .ack)
    try link.send(frame)
    #expect(try link.receive() == frame.forwarded(to: Addresses.backEndMAC))
    #expect(plane.counters()[.forwarded] == 1 && plane.counters()[.notService] == 1)
    // The frame that is no service's had the marks of both; the other one left before it came there.
    #expect(try filtersDropped() == 1)
  }

  private func filtersDropped() throws -> Int? {
    let shown = try interface.namespace.run(["tc", "-s", "qdisc", "show", "dev", "d0", "clsact"]).checked().output
    // "… (dropped 1, overlimits 0 requeues 0)"
    let words = shown.split { !$0.isLetter && !$0.isNumber }
    return words.firstIndex(of: "dropped").flatMap { Int(words[$0 + 1]) }
  }

  /// What ours ends with is the end at tcx too: nothing of it comes to the stack or to other programs.
  @Test func whatIsTakenGoesNoFurther() throws {
    let plane = try interface.attach()
    try interface.namespace.run(["tc", "qdisc", "add", "dev", "d0", "clsact"]).checked()
    try interface.namespace.run(
      ["tc", "filter", "add", "dev", "d0", "ingress", "bpf", "da", "bytecode", "1,6 0 0 2"]
    ).checked()
    try plane.setServices([Addresses.service4])
    let ring = try plane.handshake.openRing(worker: 0, size: 1 << 20)
    Handshake(usesRings: true).start(plane.handshake)
    let link = try interface.namespace.perform { try RawLink("d1") }
    try link.send(Frame.raw(Addresses.flow4, .ack, sequence: 1, payload: [1, 2, 3]))
    try link.send(Frame.tcp(Addresses.flow6, .ack))
    let deadline = MonotonicTime.now() + 5_000_000_000
    while try filtersDropped() == 0, MonotonicTime.now() < deadline {}
    #expect(plane.counters()[.toUserSpace] == 1 && plane.counters()[.notService] == 1)
    #expect(try filtersDropped() == 1)
    _ = ring
  }

  /// A process that is killed leaves its program, and the next one finds it by its name among others.
  @Test func aPredecessorIsFoundAmongOthers() throws {
    let (before, after) = (try Stranger("before"), try Stranger("after"))
    try interface.namespace.perform { try hook.attach(before.program.raw, .last) }
    do {
      let plane = try interface.attach()
      try plane.setServices([Addresses.service4])
      try plane.flows.insert(Addresses.flow4, .forwarding(handoff: 42))
    }
    try interface.namespace.perform { try hook.attach(after.program.raw, .last) }
    let occupant = try interface.namespace.perform { try ForwardingPlane.occupant(interface: "d0") }
    #expect(occupant == .plane)
    let names = ["before", "handoff_forward", "after"]
    #expect(try interface.express() == names)
    let plane = try interface.attach()
    #expect(plane.adoption == .maps(flows: 1))
    #expect(try interface.express() == names)
    let box = Handover(plane)
    try interface.namespace.perform { try box.take().detach() }
    #expect(try interface.express() == ["before", "after"])
  }

  /// The predecessor was of a release that used filters, or one that was made to.
  @Test(arguments: [TrafficAttachment.clsact, .auto])
  func theOtherWaysPredecessorIsTakenOver(_ former: TrafficAttachment) throws {
    let link = try interface.namespace.perform { try RawLink("d1") }
    let frame = Frame.tcp(Addresses.flow4, .ack)
    do {
      let plane = try interface.attach(former)
      try plane.setServices([Addresses.service4])
      try plane.flows.insert(Addresses.flow4, .forwarding(handoff: 42))
    }
    let plane = try interface.attach(former == .auto ? .clsact : .auto)
    #expect(plane.adoption == .maps(flows: 1))
    let shown = try interface.trafficControl()
    if former == .clsact {
      #expect(shown == "tcx ingress handoff_forward\n")
    } else {
      #expect(!shown.contains("tcx") && shown.contains("handoff_forward"))
    }
    try link.send(frame)
    #expect(try link.receive() == frame.forwarded(to: Addresses.backEndMAC))
    #expect(plane.counters()[.forwarded] == 1, "one of the two programs is gone")
    let box = Handover(plane)
    try interface.namespace.perform { try box.take().detach() }
    #expect(try interface.trafficControl() == "")
  }

  @Test func aForeignQdiscOutlivesAPredecessorsFilter() throws {
    try interface.namespace.run(["tc", "qdisc", "add", "dev", "d0", "clsact"]).checked()
    do { _ = try interface.attach(.clsact) }
    let box = Handover(try interface.attach())
    try interface.namespace.perform { try box.take().detach() }
    let shown = try interface.trafficControl()
    #expect(shown.contains("clsact") && !shown.contains("filter") && !shown.contains("tcx"))
  }

  /// Somebody else's filter still needs the predecessor's qdisc; it goes with the last of them.
  @Test func aPredecessorsQdiscGoesWithTheLastFilter() throws {
    do { _ = try interface.attach(.clsact) }
    let foreign = ["dev", "d0", "egress", "pref", "7"]
    try interface.namespace.run(["tc", "filter", "add"] + foreign + ["bpf", "da", "bytecode", "1,6 0 0 0"]).checked()
    let box = Handover(try interface.attach())
    #expect(try interface.trafficControl().contains("clsact"))
    try interface.namespace.run(["tc", "filter", "del"] + foreign).checked()
    try interface.namespace.perform { try box.take().detach() }
    #expect(try interface.trafficControl() == "")
  }

  /// Programs at tcx run before all filters: who belongs behind a filter of another process is a filter too.
  @Test func whoBelongsBehindAFilterIsAFilter() throws {
    let forwarding = try install(.forwarding, .clsact)
    let serving = try install(.serving)
    let exit = try install(.tunnelExit)
    #expect(try interface.express() == ["handoff_decapsu"])
    #expect(try interface.trafficControl().contains("handoff_serve"))
    let upgraded = try install(.forwarding)
    #expect(try interface.express() == ["handoff_decapsu", "handoff_forward"])
    for program in [forwarding, upgraded, serving, exit] { try remove(program) }
    #expect(try interface.trafficControl() == "")
  }

  @Test func leftoversOfBothWaysAreRemoved() throws {
    for attachment in TrafficAttachment.both {
      _ = try interface.namespace.perform { try TunnelExit.attach(interface: "d0", attachment) }
      #expect(try interface.trafficControl() != "")
      try interface.namespace.perform { try TunnelExit.removeLeftovers(interface: "d0") }
      #expect(try interface.trafficControl() == "")
    }
  }

  /// A stranger's filter at the place that ours would have does not matter at tcx, and stays.
  @Test func aForeignFilterAtThePlaceDoesNotMatter() throws {
    try interface.namespace.perform {
      let filter = try TrafficHook(interface: "d0").filter
      _ = try filter.createQdisc()
      _ = try filter.attach(Stranger("stranger").program)
    }
    let box = Handover(try interface.attach())
    #expect(try interface.express() == ["handoff_forward"])
    try interface.namespace.perform { try box.take().detach() }
    let shown = try interface.trafficControl()
    #expect(shown.contains("stranger") && !shown.contains("tcx"))
  }
}
