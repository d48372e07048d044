// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// Drops the flood's packets at tc ingress of a node's `eth0`, before the distributor's own program: at tcx where that is, as
/// the distributor's is there too, else by a filter of clsact with a higher priority.
struct FloodBarrier {
  private enum Kind {
    case program(TCXHook, Handover<OwnedDescriptor>)
    case filter
  }

  private static let rule = ["dev", "eth0", "ingress", "pref", "1"]

  private let namespace: NetworkNamespace
  private let kind: Kind

  /// - Parameter filter: classic BPF that does the same.
  static func raise(in namespace: NetworkNamespace, orFilter filter: String) throws(LabError) -> FloodBarrier {
    do {
      let kind = try namespace.perform { () -> Kind in
        var netlink = try NetlinkSocket(.route)
        guard let index = try netlink.interface(named: "eth0")?.index else { return .filter }
        let hook = TCXHook(interface: index)
        guard (try? hook.programs()) != nil else { return .filter }
        let program = try TCXHook.load(instructions, name: "flood_barrier")
        try hook.attach(program.raw, .first)
        return .program(hook, Handover(program))
      }
      if case .filter = kind {
        try namespace.run(["tc", "filter", "add"] + rule + ["bpf", "da", "bytecode", filter]).checked()
      }
      return FloodBarrier(namespace: namespace, kind: kind)
    } catch {
      throw LabError("\(namespace.name): the flood cannot be dropped: \(error)")
    }
  }

  func remove() throws(LabError) {
    switch kind {
    case .filter: try namespace.run(["tc", "filter", "del"] + FloodBarrier.rule).checked()
    case .program(let hook, let program):
      do {
        try namespace.perform {
          let program = program.take()
          try hook.detach(program.raw)
        }
      } catch {
        throw LabError("\(namespace.name): the flood goes on being dropped: \(error)")
      }
    }
  }

  /// TC_ACT_SHOT for IPv4 frames from the flood's addresses, TC_ACT_UNSPEC for others.
  private static let instructions: [UInt64] = {
    func instruction(_ code: UInt64, _ target: UInt64 = 0, offset: UInt64 = 0, _ value: UInt32 = 0) -> UInt64 {
      code | target << 8 | offset << 16 | UInt64(value) << 32
    }
    return [
      instruction(0xbf, 0x16),  // r6 = r1, where the loads of packet bytes look for the context
      instruction(0x28, 0, 12),  // r0 = 16 bits at 12
      instruction(0x55, 0, offset: 5, 0x0800),  // if r0 != 0x0800 goto unspecified
      instruction(0x20, 0, 26),  // r0 = 32 bits at 26
      instruction(0x54, 0, 0xfffe_0000),  // r0 &= 0xfffe0000
      instruction(0x56, 0, offset: 2, SynFlood.sources),  // if r0 != sources goto unspecified
      instruction(0xb7, 0, 2), instruction(0x95),  // return TC_ACT_SHOT
      instruction(0xb7, 0, UInt32.max), instruction(0x95),  // unspecified: return -1
    ]
  }()
}
