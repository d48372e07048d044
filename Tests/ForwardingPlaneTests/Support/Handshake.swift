// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import ForwardingPlane
import LinuxKernel
import Wire

/// The secrets and plan that a test gives the program, and a responder in user space with the same.
struct Handshake: Sendable {
  let keys: HandshakeKeys
  let plan: HandshakePlan

  static let targetKey = KeyedHash(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210)

  init(seed: UInt64 = 1, workers: Int = 1, usesRings: Bool = false) {
    var random = SeededRandom(seed: seed)
    keys = HandshakeKeys(now: MonotonicTime.now(), using: &random)
    plan = HandshakePlan(
      answersInKernel: true, usesRings: usesRings, workers: workers, segmentSizeIPv4: 1460, segmentSizeIPv6: 1440,
      window: 65_535, windowScale: 7, targetKey: Handshake.targetKey)
  }

  /// Puts secrets and plan in force, with every worker alive for a minute.
  func start(_ table: HandshakeTable) {
    table.secrets = HandshakeSecrets(
      even: Handshake.key(keys.even), odd: Handshake.key(keys.odd), timestamp: (keys.timestamp0, keys.timestamp1),
      spread: keys.spread)
    for worker in 0..<plan.workers { table.keepAlive(worker: worker, until: MonotonicTime.now() + 60_000_000_000) }
    table.apply(plan)
  }

  private static func key(_ key: HandshakeKeys.Cookie) -> HandshakeSecrets.CookieKey {
    HandshakeSecrets.CookieKey(period: key.period, outer: (key.outer0, key.outer1), tag: key.tag)
  }

  /// What the responder answers to a packet; nil when it answers nothing. Every SYN gets a cookie.
  func answer(to packet: [UInt8], at now: UInt64) -> [UInt8]? {
    var configuration = ResponderConfiguration(targetKey: KeyedHash(1, 2))
    configuration.maximumEmbryonic = 0
    configuration.checksums = .rightOrOpen
    configuration.maximumConnections = 16
    var random = SeededRandom(seed: 3)
    var responder = Responder(
      configuration: configuration, keys: ResponderKeys(handshake: keys, using: &random),
      services: [Addresses.service4, Addresses.service6], now: now)
    var actions = ActionList()
    responder.receive(packet.span, now: now, into: &actions)
    for case .transmit(let range) in actions.actions { return Array(actions.bytes[range]) }
    return nil
  }
}

extension Frame {
  /// How a sender leaves the checksum.
  enum Checksum: Sendable, CaseIterable {
    case right
    /// To a device that is still to come: the pseudo header's sum.
    case open
  }

  /// A segment whose option bytes are given as they are; padded to whole words by end-of-options.
  static func raw(
    _ flow: FlowTuple, _ flags: TCPFlags, sequence: UInt32, acknowledgment: UInt32 = 0, options: [UInt8] = [],
    payload: [UInt8] = [], checksum: Checksum = .right
  ) -> Frame {
    var options = options
    while options.count % 4 != 0 { options.append(0) }
    var frame = tcp(flow, flags, sequence: sequence, payload: options + payload)
    let tcp = frame.tcpStart
    frame = frame.with(UInt8(5 + options.count / 4) << 4, at: tcp + 12)
      .with(
        UInt8(acknowledgment >> 24), UInt8(acknowledgment >> 16 & 255), UInt8(acknowledgment >> 8 & 255),
        UInt8(acknowledgment & 255), at: tcp + 8)
    return frame.checksummed(flow, checksum)
  }

  var tcpStart: Int { Frame.ipStart + (bytes[12] == 0x86 ? 40 : 20) }
  var packet: [UInt8] { Array(bytes[Frame.ipStart...]) }

  /// With the TCP checksum that a sender would leave.
  func checksummed(_ flow: FlowTuple, _ checksum: Checksum = .right) -> Frame {
    let cleared = with(0, 0, at: tcpStart + 16)
    let segment = Array(cleared.bytes[tcpStart...])
    var value = InternetChecksum.openTCPChecksum(
      length: segment.count, source: flow.client.address, destination: flow.service.address)
    if checksum == .right {
      value = ~InternetChecksum.fold(
        InternetChecksum.tcpSum(segment.span, source: flow.client.address, destination: flow.service.address))
    }
    return with(UInt8(value >> 8), UInt8(value & 255), at: tcpStart + 16)
  }
}
