// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

@testable import ForwardingPlane

extension TrafficAttachment {
  static let both: [TrafficAttachment] = [.auto, .clsact]

  /// Whether this kernel has tcx; without it, there is nothing to test.
  static var hasTCX: Bool { (try? TCXHook(interface: 1).programs()) != nil }
}

/// Somebody else's program for tc: it adds a bit to the packet's mark and passes it on.
struct Stranger {
  let program: SharedDescriptor

  /// - Parameters:
  ///   - name: at most 15 bytes.
  ///   - verdict: what it returns.
  init(_ name: String, bit: UInt32 = 0, verdict: Int32 = -1) throws {
    // r2 = ctx->mark; r2 |= bit; ctx->mark = r2; r0 = verdict; exit. The mark is the third word of __sk_buff.
    func instruction(_ code: UInt64, _ registers: UInt64, _ offset: UInt64 = 0, _ immediate: Int32 = 0) -> UInt64 {
      code | registers << 8 | offset << 16 | UInt64(UInt32(bitPattern: immediate)) << 32
    }
    program = SharedDescriptor(
      try TCXHook.load(
        [
          instruction(0x61, 0x12, 8), instruction(0x47, 0x02, 0, Int32(bit)), instruction(0x63, 0x21, 8),
          instruction(0xb7, 0x00, 0, verdict), instruction(0x95, 0),
        ], name: name))
  }
}
