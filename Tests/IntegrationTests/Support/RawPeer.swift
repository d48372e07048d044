// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Wire

/// A TCP client without a kernel: its address belongs to no interface, and every segment that it sends was written by a
/// test. It acknowledges in-order data by itself and nothing else.
final class RawPeer {
  let local: Endpoint
  let remote: Endpoint
  private let tap: FrameTap
  private let ethernet: [UInt8]
  private var buffer = [UInt8](repeating: 0, count: 65_536)

  /// Offered in the SYN; a peer that has them sends timestamps on every segment.
  var options = TCPOptions(maximumSegmentSize: 1400, windowScale: 7, sackPermitted: true)
  var window: UInt16 = 60_000
  /// An empty line follows the handshake, which servers ignore (RFC 9112 section 2.2): a distributor whose kernel answers
  /// handshakes knows of the connection only then.
  var isPrimed = false
  private(set) var sendNext = SequenceNumber(0xffff_f000)
  private(set) var receiveNext = SequenceNumber(0)
  /// In-order bytes that the server sent.
  private(set) var received: [UInt8] = []
  private(set) var isOpen = false
  private(set) var isFinished = false
  private(set) var isReset = false
  /// Segments that came, with SYN-ACK and pure acknowledgments.
  private(set) var segments = 0
  private var timestamps: TCPTimestamps?

  private static let address4 = IPAddress("10.77.3.1")
  private static let address6 = IPAddress("fd77::3:1")

  init(_ cluster: Cluster, to remote: Endpoint, at node: ClusterNode, port: UInt16) throws {
    guard let address = remote.address.isIPv4 ? RawPeer.address4 : RawPeer.address6 else {
      throw LabError("the peer's address is not right")
    }
    let own = try RawPeer.hardwareAddress(of: cluster.client)
    // Nobody answers for the peer's address, and the client's kernel must not pass its packets on.
    try cluster.client.run([
      "sysctl", "-q", "-w", "net.ipv4.conf.all.forwarding=0", "net.ipv6.conf.all.forwarding=0",
    ]).checked()
    for each in cluster.nodes {
      let neighbour = ["ip", "neigh", "replace", "\(address)", "lladdr", own, "dev", "eth0", "nud", "permanent"]
      try each.namespace.run(neighbour).checked()
    }
    let peer = try RawPeer.hardwareAddress(of: node.namespace)
    ethernet =
      RawPeer.bytes(of: peer) + RawPeer.bytes(of: own) + (remote.address.isIPv4 ? [0x08, 0x00] : [0x86, 0xdd])
    tap = try cluster.client.perform { try FrameTap(interface: "eth0") }
    local = Endpoint(address, port)
    self.remote = remote
  }

  private static func hardwareAddress(of namespace: NetworkNamespace) throws -> String {
    let words = try namespace.run(["ip", "-o", "link", "show", "eth0"]).checked().output.split(separator: " ")
    guard let index = words.firstIndex(of: "link/ether"), index + 1 < words.count else {
      throw LabError("eth0 in \(namespace.name) has no Ethernet address")
    }
    return String(words[index + 1])
  }

  private static func bytes(of text: String) -> [UInt8] {
    text.split(separator: ":").compactMap { UInt8($0, radix: 16) }
  }
}

// MARK: Sending

extension RawPeer {
  /// What of a segment differs from the right one.
  struct Fault {
    /// Added to the next sequence number.
    var sequence = 0
    /// Added to the right acknowledgment number.
    var acknowledgment = 0
    /// Added to the right timestamp; nil: no timestamps.
    var clock: Int? = 0
    /// Replaces the option bytes of the same length.
    var options: [UInt8] = []
    /// Replaces the byte of the data offset.
    var dataOffset: UInt8?
    var sourcePort: UInt16?
    var breaksChecksum = false

    init() {}
  }

  /// Sends one segment; nothing of the peer's state changes.
  func emit(_ flags: TCPFlags, _ payload: [UInt8] = [], _ configure: (inout Fault) -> Void = { _ in }) throws {
    var fault = Fault()
    configure(&fault)
    var segment = TCPSegment(
      source: Endpoint(local.address, fault.sourcePort ?? local.port), destination: remote,
      sequence: sendNext.advanced(by: fault.sequence),
      acknowledgment: flags.contains(.ack) ? receiveNext.advanced(by: fault.acknowledgment) : SequenceNumber(0),
      flags: flags, window: window)
    if flags.contains(.syn) { segment.options = options }
    if let timestamps, let shift = fault.clock {
      let value = UInt32(truncatingIfNeeded: MonotonicTime.now() / 1_000_000 &+ 1_000_000)
      segment.options.timestamps = TCPTimestamps(
        value: value &+ UInt32(truncatingIfNeeded: shift), echo: timestamps.value)
    }
    if !fault.options.isEmpty { segment.options.timestamps = TCPTimestamps(value: 1, echo: 1) }
    var packet = [UInt8](repeating: 0, count: segment.headerLength + payload.count)
    var span = packet.mutableSpan
    _ = segment.emit(payload: payload.span, into: &span)
    let start = local.address.isIPv4 ? 20 : 40
    for (index, byte) in fault.options.enumerated() { packet[start + 20 + index] = byte }
    if let offset = fault.dataOffset { packet[start + 12] = offset }
    packet[start + 16] = 0
    packet[start + 17] = 0
    let sum = InternetChecksum.tcpSum(
      packet.span.extracting(start..<packet.count), source: segment.source.address, destination: remote.address)
    let checksum = ~InternetChecksum.fold(sum) ^ (fault.breaksChecksum ? 0x5555 : 0)
    packet[start + 16] = UInt8(checksum >> 8)
    packet[start + 17] = UInt8(checksum & 0xff)
    let frame = ethernet + packet
    // The queue of an interface is full for moments on a busy machine.
    _ = try Eventually.within(2) {
      try tap.send(frame.span)
    } until: {
      $0
    }
  }

  /// Sends data, at most `size` bytes a segment.
  func send(_ bytes: [UInt8], size: Int = 1300) throws {
    var offset = 0
    while offset < bytes.count {
      let end = min(offset + size, bytes.count)
      try emit([.ack, .psh], Array(bytes[offset..<end]))
      sendNext = sendNext.advanced(by: end - offset)
      offset = end
    }
  }

  func send(_ text: String, size: Int = 1300) throws { try send(Array(text.utf8), size: size) }

  /// Sends FIN, with data if any.
  func finish(_ bytes: [UInt8] = []) throws {
    try emit([.ack, .fin], bytes)
    sendNext = sendNext.advanced(by: bytes.count + 1)
  }

  func reset() throws { try emit([.rst, .ack]) }

  /// Sends a SYN without waiting.
  func open(data: [UInt8] = []) throws {
    timestamps = options.timestamps
    try emit(.syn, data)
  }

  /// Waits for the SYN-ACK without answering it.
  func awaitSynAck() throws {
    sendNext = sendNext.advanced(by: 1)
    try wait("SYN-ACK") { isOpen }
  }

  func connect() throws {
    try open()
    try awaitSynAck()
    try emit(.ack)
    guard isPrimed else { return }
    try send("\r\n")
    try waitForSegment()
  }
}

// MARK: Receiving

extension RawPeer {
  /// Takes segments until something is so.
  func wait(_ what: String, within seconds: Double = 8, until isSo: () -> Bool) throws {
    let deadline = MonotonicTime.now() &+ UInt64(seconds * 1e9)
    while !isSo() {
      if try takeOne() { continue }
      let now = MonotonicTime.now()
      guard now < deadline else {
        let text = String(decoding: received.prefix(200), as: UTF8.self)
        throw LabError("no \(what) in time; open \(isOpen), reset \(isReset), finished \(isFinished): \(text)")
      }
      var entry = pollfd(fd: tap.raw, events: Int16(POLLIN), revents: 0)
      _ = unsafe poll(&entry, 1, Int32(clamping: (deadline - now) / 1_000_000 + 1))
    }
  }

  /// Waits for one more segment, whatever it says.
  func waitForSegment() throws {
    let before = segments
    try wait("segment") { segments > before }
  }

  private func takeOne() throws -> Bool {
    guard let frame = try tap.receive(into: &buffer) else { return false }
    guard frame.direction == .received, frame.count > 34,
      let parsed = try? TCPSegment.parse(buffer.span.extracting(14..<frame.count)),
      parsed.segment.destination == local, parsed.segment.source == remote
    else { return true }
    segments += 1
    let payload = Array(buffer[14 + parsed.payload.lowerBound..<14 + parsed.payload.upperBound])
    try take(parsed.segment, payload)
    return true
  }

  private func take(_ segment: TCPSegment, _ payload: [UInt8]) throws {
    if segment.flags.contains(.rst) {
      isReset = true
      return
    }
    if timestamps != nil, let theirs = segment.options.timestamps { timestamps = theirs }
    if segment.flags.contains(.syn) {
      // One that answers a SYN of this peer which is no part of the connection.
      if isOpen { return }
      receiveNext = segment.sequence.advanced(by: 1)
      isOpen = true
      return
    }
    let isNew = segment.sequence == receiveNext
    if isNew {
      received += payload
      receiveNext = receiveNext.advanced(by: payload.count)
      if segment.flags.contains(.fin) {
        receiveNext = receiveNext.advanced(by: 1)
        isFinished = true
      }
    }
    if segment.sequenceLength(payload: payload.count) > 0 { try emit(.ack) }
  }

  /// Waits for so many complete answers with a Content-Length.
  func answers(_ count: Int = 1) throws -> [RawAnswer] {
    try wait("\(count) answers") { RawAnswer.all(in: received).count >= count || isReset }
    return RawAnswer.all(in: received)
  }

  /// Ends the connection from this side and waits for the other.
  func close() throws {
    try finish()
    try wait("end of the connection") { isFinished || isReset }
  }
}

struct RawAnswer: Hashable {
  var status: Int
  var body: [UInt8]

  /// The complete answers at the start of the bytes.
  static func all(in bytes: [UInt8]) -> [RawAnswer] {
    var answers: [RawAnswer] = []
    var rest = bytes[...]
    while let end = rest.firstRange(of: [13, 10, 13, 10]) {
      let lines = String(decoding: rest[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
      let words = lines.first?.split(separator: " ") ?? []
      let length = lines.first { $0.lowercased().hasPrefix("content-length:") }
        .flatMap { Int($0.split(separator: ":")[1].filter { $0 != " " }) }
      guard words.count > 1, let status = Int(words[1]), let length, rest.endIndex - end.upperBound >= length else {
        break
      }
      answers.append(RawAnswer(status: status, body: Array(rest[end.upperBound..<end.upperBound + length])))
      rest = rest[(end.upperBound + length)...]
    }
    return answers
  }
}
