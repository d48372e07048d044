// SPDX-License-Identifier: Apache-2.0

import Clibbpf
import Glibc
import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// The program at the driver of a veth: when it is there, what it outlives, and frames that really travel.
struct DriverAttachmentTests {
  @Test(arguments: [Addresses.flow4, Addresses.flow6])
  func aForwardedFrameLeavesWithTheBackEndsAddress(flow: FlowTuple) throws {
    let interface = try TestInterface()
    try interface.takeRedirected()
    let plane = try interface.attach(hook: .xdp)
    #expect(plane.driver.choice == .driver)
    try plane.setServices([flow.service])
    try plane.flows.insert(flow, .forwarding())
    let link = try interface.namespace.perform { try RawLink("d1") }
    let frame = Frame.tcp(flow, [.ack, .psh], payload: Array("GET /".utf8))
    try link.send(frame)
    #expect(try link.receive() == frame.forwarded(to: Addresses.backEndMAC))
    #expect(plane.driver.counters()[.forwarded] == 1)
    #expect(plane.counters()[.forwarded] == 1 && plane.counters().total == 1)
    // With an open checksum, the program at tc forwards.
    let open = frame.checksummed(flow, .open)
    try link.send(open)
    #expect(try link.receive() == open.forwarded(to: Addresses.backEndMAC))
    #expect(plane.driver.counters()[.checksumOpen] == 1 && plane.driver.counters()[.forwarded] == 1)
    #expect(plane.counters()[.forwarded] == 2 && plane.counters().total == 2)
  }

  /// A driver that is no veth: a tap's. Its user writes a frame and gets it back, sent by XDP_TX.
  @Test func otherDriversTransmit() throws {
    let interface = try TestInterface()
    for command in ["ip tuntap add mode tap name t0", "ip link set t0 address \(Addresses.ownMAC) up"] {
      try interface.namespace.run(command.split(separator: " ").map(String.init)).checked()
    }
    let plane = try interface.namespace.perform {
      try ForwardingPlane.attach(
        interface: "t0", configuration: ForwardingPlaneConfiguration(capacity: 64, localMark: 1, hook: .auto))
    }
    #expect(plane.driver.choice == .driver)
    try plane.setServices([Addresses.service6])
    try plane.flows.insert(Addresses.flow6, .forwarding())
    let frame = Frame.tcp(Addresses.flow6, [.ack, .psh], payload: Array("GET /".utf8))
    // TUNSETIFF of IFF_TAP and IFF_NO_PI. The driver runs programs on frames that are written without blocking.
    let script = """
      import fcntl, os, select, struct, sys
      tap = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
      fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH', b't0', 0x1002))
      os.write(tap, bytes.fromhex(sys.argv[1]))
      print(os.read(tap, 65536).hex() if select.select([tap], [], [], 5)[0] else 'nothing')
      """
    let written = frame.bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    let read = try interface.namespace.run(["python3", "-c", script, written]).checked().output
    let expected = frame.forwarded(to: Addresses.backEndMAC).bytes
      .map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    #expect(read == expected + "\n")
    #expect(plane.driver.counters()[.forwarded] == 1 && plane.counters()[.forwarded] == 1)
  }

  @Test func tcIsTheDefaultOnAVeth() throws {
    let interface = try TestInterface()
    try interface.takeRedirected()
    let plane = try interface.attach(hook: .auto)
    #expect(plane.driver.choice == .trafficControlBecause(.notFaster(driver: "veth")))
    #expect(try interface.driverProgram() == nil)
  }

  @Test func aVethWhosePeerTakesNothingIsRefused() throws {
    let interface = try TestInterface()
    try interface.takeRedirected(false)
    #expect(throws: ForwardingPlaneError.noDriverHook(interface: "d0", .deafPeer)) {
      _ = try interface.attach(hook: .xdp)
    }
    #expect(try interface.trafficControl() == "")
    #expect(try interface.driverProgram() == nil)
  }

  @Test func aDriverWithoutXDPIsRefused() throws {
    let interface = try TestInterface()
    #expect {
      try interface.namespace.perform {
        _ = try ForwardingPlane.attach(
          interface: "lo", configuration: ForwardingPlaneConfiguration(localMark: 1, hook: .xdp))
      }
    } throws: { "\($0)".contains("runs no XDP programs") && "\($0)".contains("--forwarding-hook") }
  }

  @Test(arguments: [ForwardingHook.xdp, .auto])
  func aForeignProgramIsNotTouched(hook: ForwardingHook) throws {
    let interface = try TestInterface()
    try interface.takeRedirected()
    // A program that knows of no frames in pieces is not allowed on longer ones.
    for name in ["d0", "d1"] { try interface.namespace.run(["ip", "link", "set", name, "mtu", "1500"]).checked() }
    let stranger = try Self.strangersProgram()
    try interface.namespace.perform {
      try DriverHook(try TrafficHook(interface: "d0")).attach(stranger, replacing: nil)
    }
    if hook == .xdp {
      #expect(throws: ForwardingPlaneError.noDriverHook(interface: "d0", .taken(program: "stranger"))) {
        _ = try interface.attach(hook: hook)
      }
    } else {
      _ = try interface.attach(hook: hook)
    }
    #expect(try interface.driverProgram() != nil)
  }

  /// A process that dies leaves its program at the driver, and the next one puts its own in the place or removes it.
  @Test(arguments: [ForwardingHook.xdp, .tc, .auto])
  func theProgramOutlivesItsProcess(next: ForwardingHook) throws {
    let interface = try TestInterface()
    try interface.takeRedirected()
    let link = try interface.namespace.perform { try RawLink("d1") }
    let frame = Frame.tcp(Addresses.flow4, .ack)
    do {
      let plane = try interface.attach(hook: .xdp)
      try plane.setServices([Addresses.service4])
      try plane.flows.insert(Addresses.flow4, .forwarding(handoff: 42))
    }
    let left = try #require(try interface.driverProgram())
    try link.send(frame)
    #expect(try link.receive() == frame.forwarded(to: Addresses.backEndMAC))

    let plane = try interface.attach(hook: next)
    #expect(plane.adoption == .maps(flows: 1))
    #expect(plane.counters()[.forwarded] == 1, "what the driver has forwarded since counts")
    #expect(try interface.driverProgram() != left)
    #expect(try (interface.driverProgram() != nil) == (next == .xdp))
    try link.send(frame)
    #expect(try link.receive() == frame.forwarded(to: Addresses.backEndMAC))
    #expect(plane.counters()[.forwarded] == 2)
    #expect(plane.driver.counters()[.forwarded] == (next == .xdp ? 1 : 0))
    try Self.detach(plane, interface)
  }

  @Test func aTableOfAnotherSizeIsCopied() throws {
    let interface = try TestInterface()
    try interface.takeRedirected()
    let link = try interface.namespace.perform { try RawLink("d1") }
    do {
      let plane = try interface.attach(capacity: 100, hook: .xdp)
      try plane.setServices([Addresses.service4])
      try plane.flows.insert(Addresses.flow4, .forwarding(handoff: 42))
    }
    let plane = try interface.attach(capacity: 200, hook: .xdp)
    #expect(plane.adoption == .copied(flows: 1, lost: 0))
    let frame = Frame.tcp(Addresses.flow4, [.ack, .fin])
    try link.send(frame)
    #expect(try link.receive() == frame.forwarded(to: Addresses.backEndMAC))
    #expect(plane.driver.counters()[.forwarded] == 1)
    #expect(plane.flows.lookup(Addresses.flow4)?.seen == .fin, "not in the table that nobody looks after")
    try Self.detach(plane, interface)
  }

  /// The other end stops taking redirected frames while the program runs: those are forwarded at tc then, not lost.
  @Test func aPeerThatStopsTakingFramesIsNoticed() throws {
    let interface = try TestInterface()
    try interface.takeRedirected()
    let plane = try interface.attach(hook: .xdp)
    try plane.setServices([Addresses.service4])
    try plane.flows.insert(Addresses.flow4, .forwarding())
    let link = try interface.namespace.perform { try RawLink("d1") }
    let frame = Frame.tcp(Addresses.flow4, .ack)
    for (round, takes) in [true, false, true].enumerated() {
      try interface.takeRedirected(takes)
      let driver = plane.driver
      #expect(try interface.namespace.perform { driver.adapt() } == takes)
      try link.send(frame)
      #expect(try link.receive() == frame.forwarded(to: Addresses.backEndMAC), "round \(round)")
    }
    #expect(plane.driver.counters()[.forwarded] == 2 && plane.driver.counters()[.passed] == 1)
    #expect(plane.counters()[.forwarded] == 3)
  }

  private static func detach(_ plane: consuming ForwardingPlane, _ interface: TestInterface) throws {
    let box = Handover(plane)
    try interface.namespace.perform { try box.take().detach() }
    #expect(try interface.trafficControl() == "")
    #expect(try interface.driverProgram() == nil)
  }

  private static func strangersProgram() throws -> SharedDescriptor {
    // r0 = XDP_PASS; exit
    let instructions = [
      bpf_insn(code: 0xb7, dst_reg: 0, src_reg: 0, off: 0, imm: 2),
      bpf_insn(code: 0x95, dst_reg: 0, src_reg: 0, off: 0, imm: 0),
    ]
    let raw = unsafe bpf_prog_load(BPF_PROG_TYPE_XDP, "stranger", "GPL", instructions, 2, nil)
    try #require(raw >= 0)
    return SharedDescriptor(OwnedDescriptor(owning: raw))
  }
}
