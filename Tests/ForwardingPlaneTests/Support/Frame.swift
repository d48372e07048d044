// SPDX-License-Identifier: Apache-2.0

import Wire

/// An Ethernet frame to be built up in words: a right one first, then what is wrong with it.
struct Frame: Hashable, Sendable {
  var bytes: [UInt8]

  static let ipStart = 14

  /// A TCP segment with right checksums.
  static func tcp(
    from source: Endpoint, to destination: Endpoint, flags: TCPFlags, sequence: UInt32 = 5000, payload: [UInt8] = [],
    mac: MACAddress = Addresses.ownMAC
  ) -> Frame {
    let segment = TCPSegment(
      source: source, destination: destination, sequence: SequenceNumber(sequence),
      acknowledgment: flags.contains(.ack) ? SequenceNumber(77) : SequenceNumber(0), flags: flags, window: 512)
    var packet = [UInt8](repeating: 0, count: segment.headerLength + payload.count)
    var span = packet.mutableSpan
    _ = segment.emit(payload: payload.span, into: &span)
    let type: [UInt8] = destination.address.isIPv4 ? [0x08, 0x00] : [0x86, 0xdd]
    return Frame(bytes: mac.bytes + Addresses.routerMAC.bytes + type + packet)
  }

  static func tcp(_ flow: FlowTuple, _ flags: TCPFlags, sequence: UInt32 = 5000, payload: [UInt8] = []) -> Frame {
    tcp(from: flow.client, to: flow.service, flags: flags, sequence: sequence, payload: payload)
  }

  /// The frame with other bytes at `offset`.
  func with(_ replacement: UInt8..., at offset: Int) -> Frame {
    var frame = self
    frame.bytes.replaceSubrange(offset..<offset + replacement.count, with: replacement)
    return frame
  }

  func truncated(to count: Int) -> Frame { Frame(bytes: Array(bytes.prefix(count))) }

  func padded(by count: Int) -> Frame { Frame(bytes: bytes + [UInt8](repeating: 0, count: count)) }

  /// The IPv4 frame with this many bytes of no-operation options; lengths follow, the checksum (which nobody here
  /// looks at) does not.
  func withIPv4Options(_ count: Int) -> Frame {
    precondition(count % 4 == 0)
    var frame = self
    frame.bytes.insert(contentsOf: [UInt8](repeating: 1, count: count), at: Frame.ipStart + 20)
    let total = frame.bytes.count - Frame.ipStart
    return frame.with(0x45 + UInt8(count / 4), at: Frame.ipStart)
      .with(UInt8(total >> 8), UInt8(total & 255), at: Frame.ipStart + 2)
  }

  /// The IPv6 frame with an extension header of 8 bytes before the TCP header.
  func withExtensionHeader(_ type: UInt8) -> Frame {
    var frame = self
    frame.bytes.insert(contentsOf: [6, 0, 1, 4, 0, 0, 0, 0], at: Frame.ipStart + 40)
    let length = frame.bytes.count - Frame.ipStart - 40
    return frame.with(UInt8(length >> 8), UInt8(length & 255), type, at: Frame.ipStart + 4)
  }

  /// With an 802.1Q tag.
  func tagged() -> Frame {
    var frame = self
    frame.bytes.insert(contentsOf: [0x81, 0x00, 0x00, 0x05], at: 12)
    return frame
  }

  /// The frame as it leaves towards `mac`: from the address that it came to, and nothing else changed.
  func forwarded(to mac: MACAddress) -> Frame { Frame(bytes: mac.bytes + bytes[0..<6] + bytes[12...]) }
}

extension MACAddress {
  var bytes: [UInt8] { (0..<6).map { self[$0] } }
}

/// Names for the addresses that the tests use.
enum Addresses {
  static let ownMAC = mac(0x0200_0000_00fe)
  static let routerMAC = mac(0x0200_0000_0001)
  static let backEndMAC = mac(0x0200_0000_00be)

  static let client4 = Endpoint(IPAddress(ipv4: 0xc000_0201), 40_001)  // 192.0.2.1
  static let service4 = Endpoint(IPAddress(ipv4: 0xcb00_7150), 80)  // 203.0.113.80
  static let client6 = Endpoint(IPAddress(high: 0x2001_0db8_0000_0001, low: 0x1234_5678_9abc_def1), 40_001)
  static let service6 = Endpoint(IPAddress(high: 0x2001_0db8_0000_0002, low: 0x80), 80)

  static let flow4 = FlowTuple(client: client4, service: service4)
  static let flow6 = FlowTuple(client: client6, service: service6)

  static let client4Other = FlowTuple(client: Endpoint(client4.address, 40_002), service: service4)

  private static func mac(_ bits: UInt64) -> MACAddress { MACAddress(bits: bits) }
}

/// Repeatable random numbers (SplitMix64).
struct SeededRandom: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}
