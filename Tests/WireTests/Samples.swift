// SPDX-License-Identifier: Apache-2.0

import Wire

/// SplitMix64: the same sequence on every machine.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }

  mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) } }

  /// An address that a segment may come from.
  mutating func address(isIPv4: Bool) -> IPAddress {
    while true {
      let address =
        isIPv4 ? IPAddress(ipv4: UInt32.random(in: 0...UInt32.max, using: &self)) : IPAddress(high: next(), low: next())
      if address.canBeSource, address.isIPv4 == isIPv4 { return address }
    }
  }

  mutating func endpoint(isIPv4: Bool) -> Endpoint {
    Endpoint(address(isIPv4: isIPv4), UInt16.random(in: 0...UInt16.max, using: &self))
  }

  /// Each option present or not by one bit of `choice`, 0 to 15, with a value of which the extremes are likely.
  mutating func options(_ choice: Int) -> TCPOptions {
    TCPOptions(
      maximumSegmentSize: choice & 1 != 0 ? [0, 536, 1460, 65535].randomElement(using: &self) : nil,
      windowScale: choice & 2 != 0 ? UInt8.random(in: 0...14, using: &self) : nil,
      sackPermitted: choice & 4 != 0,
      timestamps: choice & 8 != 0
        ? TCPTimestamps(value: UInt32(truncatingIfNeeded: next()), echo: chance(50) ? 0 : UInt32.max) : nil)
  }

  mutating func segment(isIPv4: Bool, options choice: Int) -> TCPSegment {
    TCPSegment(
      source: endpoint(isIPv4: isIPv4), destination: endpoint(isIPv4: isIPv4),
      sequence: SequenceNumber(UInt32(truncatingIfNeeded: next())),
      acknowledgment: SequenceNumber(UInt32(truncatingIfNeeded: next())),
      flags: TCPFlags(rawValue: UInt8(truncatingIfNeeded: next())), window: UInt16(truncatingIfNeeded: next()),
      options: options(choice))
  }
}

/// The packet with `payload`, in a buffer of just its size.
func packet(_ segment: TCPSegment, _ payload: [UInt8] = []) -> [UInt8] {
  var bytes = [UInt8](repeating: 0xee, count: segment.headerLength + payload.count)
  var span = bytes.mutableSpan
  let written = segment.emit(payload: payload.span, into: &span)
  precondition(written == bytes.count)
  return bytes
}

/// What `parse` makes of `bytes`: a result, so that tests can compare it.
func parse(_ bytes: [UInt8], verifyingChecksums: Bool = true) -> Result<ParsedSegment, WireError> {
  do throws(WireError) {
    return .success(try TCPSegment.parse(bytes.span, verifyingChecksums: verifyingChecksums))
  } catch {
    return .failure(error)
  }
}

func hex(_ bytes: [UInt8]) -> String {
  bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

func bytes(hex text: some StringProtocol) -> [UInt8] {
  var result: [UInt8] = []
  var high: UInt8?
  for character in text {
    let digit = UInt8(character.hexDigitValue ?? 0)
    if let first = high {
      result.append(first << 4 | digit)
      high = nil
    } else {
      high = digit
    }
  }
  return result
}

/// The address as it is on the wire: 4 or 16 bytes.
func networkBytes(_ address: IPAddress) -> [UInt8] {
  address.isIPv4 ? bigEndian(UInt64(address.ipv4Bits), count: 4) : bigEndian(address.high) + bigEndian(address.low)
}

func bigEndian(_ value: UInt64, count: Int = 8) -> [UInt8] {
  (0..<count).map { index in
    let shift = UInt64(count - 1 - index) * 8
    return UInt8(truncatingIfNeeded: value >> shift)
  }
}
