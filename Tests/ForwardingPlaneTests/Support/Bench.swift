// SPDX-License-Identifier: Apache-2.0

import Clibbpf
import Glibc
import Handoff
import Lab
import LinuxKernel
import Synchronization
import Wire

@testable import ForwardingPlane

/// A namespace with one Ethernet interface, `d0`, that has `Addresses.ownMAC`.
final class TestInterface: Sendable {
  let namespace: NetworkNamespace
  let index: UInt32

  private static let serial = Atomic<Int>(0)

  /// A name that no other test of this machine uses.
  static func uniqueName(_ suffix: String) -> String {
    "hpl-\(getpid())-\(serial.add(1, ordering: .relaxed).newValue)\(suffix)"
  }

  init() throws {
    let namespace = try NetworkNamespace.create(TestInterface.uniqueName("t"))
    do {
      try namespace.run([
        "ip", "link", "add", "d0", "address", Addresses.ownMAC.description, "type", "veth", "peer", "name", "d1",
      ]).checked()
      try namespace.run(["ip", "link", "set", "d0", "up"]).checked()
      let index = try namespace.perform {
        var netlink = try NetlinkSocket(.route)
        return try netlink.interface(named: "d0")?.index ?? 0
      }
      self.namespace = namespace
      self.index = index
    } catch {
      try? namespace.remove()
      throw error
    }
  }

  deinit { try? namespace.remove() }

  static let localMark: UInt32 = 0x4c41

  func attach(capacity: Int = 1024) throws -> ForwardingPlane {
    try namespace.perform {
      try ForwardingPlane.attach(
        interface: "d0", configuration: ForwardingPlaneConfiguration(capacity: capacity, localMark: Self.localMark))
    }
  }

  /// What `tc` shows of the interface: its clsact qdisc and the filters at both hooks.
  func trafficControl() throws -> String {
    let qdisc = try namespace.run(["tc", "qdisc", "show", "dev", "d0", "clsact"]).checked().output
    let ingress = try namespace.run(["tc", "filter", "show", "dev", "d0", "ingress"]).output
    let egress = try namespace.run(["tc", "filter", "show", "dev", "d0", "egress"]).output
    return qdisc + ingress + egress
  }
}

/// What the program did with one frame, run by BPF_PROG_TEST_RUN.
struct Observation: Hashable, Sendable {
  var verdict: Verdict
  var frame: Frame
  var mark: UInt32
  /// Every outcome that was counted for the frame.
  var outcomes: [ForwardingOutcome]

  enum Verdict: Hashable, Sendable {
    case pass, drop, redirect
    case other(Int32)
  }
}

extension ForwardingPlane {
  /// Runs the program over a frame as if it had come in by the interface of that index. Nothing is sent.
  ///
  /// - Parameter linear: bytes of the frame that the program can read before it pulls; all of them when nil.
  func run(
    _ frame: Frame, interface: UInt32, segmentSize: UInt32 = 0, linear: Int? = nil
  ) throws(SystemError) -> Observation {
    let before = counters()
    var context = unsafe __sk_buff()
    unsafe context.ifindex = interface
    unsafe context.ingress_ifindex = 0
    unsafe context.gso_size = segmentSize
    if let linear { unsafe context.data_end = UInt32(linear) }
    var output = [UInt8](repeating: 0, count: frame.bytes.count + 64)
    var options = unsafe bpf_test_run_opts()
    unsafe options.sz = LibBPF.size(through: \bpf_test_run_opts.batch_size, bytes: 4)
    let raw = program.raw
    let (bytes, size) = (frame.bytes, output.count)
    // SAFETY: all buffers outlive the call, and the kernel is told their sizes.
    let result = unsafe bytes.withUnsafeBytes { input in
      unsafe output.withUnsafeMutableBytes { output in
        unsafe withUnsafeMutableBytes(of: &context) { context -> Int32 in
          unsafe options.data_in = input.baseAddress
          unsafe options.data_size_in = UInt32(input.count)
          unsafe options.data_out = output.baseAddress
          unsafe options.data_size_out = UInt32(size)
          unsafe options.ctx_in = UnsafeRawPointer(context.baseAddress)
          unsafe options.ctx_size_in = UInt32(context.count)
          unsafe options.ctx_out = context.baseAddress
          unsafe options.ctx_size_out = UInt32(context.count)
          return unsafe bpf_prog_test_run_opts(raw, &options)
        }
      }
    }
    guard result == 0 else { throw SystemError("bpf_prog_test_run_opts", errno: -result) }
    let after = counters()
    let outcomes = ForwardingOutcome.allCases.flatMap { outcome in
      Array(repeating: outcome, count: Int(after[outcome] - before[outcome]))
    }
    let verdict: Observation.Verdict =
      switch Int32(bitPattern: unsafe options.retval) {
      case -1: .pass
      case 2: .drop
      case 7: .redirect
      case let other: .other(other)
      }
    let length = Int(unsafe options.data_size_out)
    return Observation(
      verdict: verdict, frame: Frame(bytes: Array(output[..<length])), mark: unsafe context.mark, outcomes: outcomes)
  }
}

extension FlowEntry {
  static let isn = SequenceNumber(4999)

  static func forwarding(
    to mac: MACAddress = Addresses.backEndMAC, handoff: UInt64 = 7, backEnd: UInt16 = 3, lastSeen: UInt64 = 1
  ) -> FlowEntry {
    FlowEntry(
      action: .forward(to: mac), clientISN: isn, handoff: HandoffID(handoff), backEnd: backEnd, now: lastSeen)
  }

  static func local(handoff: UInt64 = 7) -> FlowEntry {
    FlowEntry(action: .deliverLocally, clientISN: isn, handoff: HandoffID(handoff), backEnd: 3, now: 1)
  }
}
