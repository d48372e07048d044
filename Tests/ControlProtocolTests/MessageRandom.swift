// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import Handoff
import Rules
import Wire

/// Draws random messages of every kind.
extension SeededGenerator {
  mutating func pick(_ count: Int) -> Int { Int.random(in: 0..<count, using: &self) }

  mutating func address() -> IPAddress {
    Bool.random(using: &self)
      ? IPAddress(ipv4: UInt32(truncatingIfNeeded: next())) : IPAddress(high: next(), low: next())
  }

  mutating func endpoint() -> Endpoint { Endpoint(address(), UInt16(truncatingIfNeeded: next())) }

  mutating func backEnd() -> BackEndID { BackEndID(UInt16(truncatingIfNeeded: next())) }

  /// At most 255 bytes of UTF-8.
  mutating func text() -> String {
    let alphabet: [Character] = ["a", "Z", "-", "ß", "→", "🙂"]
    return String((0..<pick(60)).map { _ in alphabet[pick(alphabet.count)] })
  }

  mutating func registration() -> BackEndRegistration {
    BackEndRegistration(
      address: address(), mac: MACAddress(bits: next()), handoffPort: UInt16(truncatingIfNeeded: next()),
      serverPort: UInt16(truncatingIfNeeded: next()), weight: UInt16(truncatingIfNeeded: next()),
      maximumConnections: UInt32(truncatingIfNeeded: next()), pools: (0..<pick(4)).map { _ in text() })
  }

  mutating func rule() -> Rule {
    let stickiness: Rule.Stickiness? =
      switch pick(3) {
      case 0: nil
      case 1: Rule.Stickiness(.client, lifetime: UInt32(pick(1_000_000)))
      default: Rule.Stickiness(.cookie(text()), lifetime: UInt32(pick(1_000_000)))
      }
    return Rule(
      name: text(), hosts: (0..<pick(4)).map { _ in Rule.HostPattern(name: text(), coversSubdomains: pick(2) == 0) },
      paths: (0..<pick(4)).map { _ in text() }, methods: (0..<pick(4)).map { _ in text() },
      cookies: (0..<pick(4)).map { _ in Rule.CookieCondition(name: text(), value: pick(2) == 0 ? nil : text()) },
      clients: (0..<pick(4)).map { _ in Rule.AddressPrefix(address(), length: UInt8(pick(129))) },
      pool: pick(2) == 0 ? nil : "p" + text(), stickiness: stickiness)
  }

  mutating func route() -> Route {
    Route(
      pool: PoolID(rawValue: UInt32(truncatingIfNeeded: next())),
      affinity: pick(2) == 0
        ? nil : Affinity(key: next(), seed: next(), lifetime: UInt32(truncatingIfNeeded: next() | 1)))
  }

  mutating func snapshot() -> TCPSnapshot {
    TCPSnapshot(
      flow: FlowTuple(client: endpoint(), service: endpoint()),
      sendNext: SequenceNumber(UInt32(truncatingIfNeeded: next())),
      receiveNext: SequenceNumber(UInt32(truncatingIfNeeded: next())),
      clientInitialSequence: SequenceNumber(UInt32(truncatingIfNeeded: next())),
      sendWindow: UInt32(truncatingIfNeeded: next()), receiveWindow: UInt32(truncatingIfNeeded: next()),
      maximumSegmentSize: UInt16(truncatingIfNeeded: next()),
      windowScale: pick(2) == 0 ? nil : .init(send: UInt8(pick(15)), receive: UInt8(pick(15))),
      sackPermitted: pick(2) == 0,
      timestamps: pick(2) == 0
        ? nil
        : .init(nextValue: UInt32(truncatingIfNeeded: next()), recent: UInt32(truncatingIfNeeded: next())))
  }

  mutating func decision() -> Decision {
    let outcome: Decision.Outcome =
      switch pick(3) {
      case 0: .assigned(backEnd())
      case 1: .noBackEnd
      default: .overloaded
      }
    guard case .assigned = outcome, pick(2) == 0 else { return Decision(id: next(), outcome: outcome) }
    let lease = Lease(
      credits: UInt16(truncatingIfNeeded: next()), milliseconds: UInt16(1 + pick(65_535)),
      term: UInt32(truncatingIfNeeded: next()))
    return Decision(id: next(), outcome: outcome, lease: lease)
  }

  mutating func account() -> LeaseAccount {
    LeaseAccount(
      target: next(), pool: PoolID(rawValue: UInt32(truncatingIfNeeded: next())), backEnd: backEnd(),
      term: UInt32(truncatingIfNeeded: next()), used: UInt16(truncatingIfNeeded: next()),
      returned: UInt16(truncatingIfNeeded: next()))
  }

  mutating func view() -> ClusterView {
    var backEnds: [BackEndDescription] = []
    for _ in 0..<pick(20) {
      backEnds.append(
        BackEndDescription(
          id: backEnd(), name: text(), state: BackEndState.allCases[pick(3)], instance: next(),
          registration: registration()))
    }
    return ClusterView(epoch: next(), backEnds: backEnds, services: (0..<pick(9)).map { _ in endpoint() })
  }

  mutating func message(kind: Int) -> Message {
    switch kind {
    case 0: .hello(Hello(role: Role.allCases[pick(3)], instance: next(), name: text()))
    case 1: .ping
    case 2: .pong
    case 3: .goodbye(text())
    case 4: .registerBackEnd(registration())
    case 5: .registerDistributor(DistributorRegistration(services: (0..<pick(9)).map { _ in endpoint() }))
    case 6:
      .loadReport(
        LoadReport(
          ended: UInt32(truncatingIfNeeded: next()), active: UInt32(truncatingIfNeeded: next()),
          state: BackEndState.allCases[pick(3)]))
    case 7:
      .decisionRequests(
        (0..<pick(50)).map { _ in
          DecisionRequest(
            id: next(), target: next(), route: route(),
            excluded: pick(2) == 0 ? nil : BackEndID(UInt16(pick(65_535))))
        })
    case 8: .assignmentsReturned((0..<pick(50)).map { _ in backEnd() })
    case 9: .clusterView(view())
    case 10: .decisions((0..<pick(50)).map { _ in decision() })
    case 11:
      .handoff(
        HandoffRequest(
          id: HandoffID(next()), snapshot: snapshot(),
          request: (0..<pick(2000)).map { _ in UInt8(truncatingIfNeeded: next()) }, wasSentByPacket: pick(2) == 0))
    case 12: .handoffAccepted(HandoffID(next()))
    case 13: .handoffRefused(HandoffID(next()), HandoffRefusal.allCases[pick(HandoffRefusal.allCases.count)])
    case 14: .handoffsEnded((0..<pick(50)).map { _ in HandoffID(next()) })
    case 15: .rules(RuleSet(rules: (0..<pick(20)).map { _ in rule() }, keyHigh: next(), keyLow: next()))
    case 16: .handoffsAccepted((0..<pick(50)).map { _ in HandoffID(next()) })
    case 17: .handoffWanted(HandoffID(next()))
    case 21: .handoffsCut((0..<pick(50)).map { _ in HandoffID(next()) })
    case 18:
      .packetHandoffs(
        PacketHandoffOffer(
          port: UInt16(pick(65_536)), key: HandoffPacketKey(next(), next()), loop: UInt8(pick(256)),
          takesIPv4: pick(2) == 0, takesIPv6: pick(2) == 0))
    case 19: .leaseAccounts((0..<pick(50)).map { _ in account() })
    case 20:
      .leaseCredits(
        (0..<pick(50)).map { _ in
          LeaseCredit(
            backEnd: backEnd(), credits: UInt16(pick(65_536)), term: UInt32(truncatingIfNeeded: next()))
        })
    case 22: .flowsEnded((0..<pick(50)).map { _ in FlowTuple(client: endpoint(), service: endpoint()) })
    case 23: .flowsHeld((0..<pick(50)).map { _ in FlowTuple(client: endpoint(), service: endpoint()) })
    case 24:
      .targetLeases(
        (0..<pick(50)).map { _ in
          TargetLease(target: next(), backEnd: backEnd(), milliseconds: UInt16(1 + pick(65_535)))
        })
    default: .abortHandoff(HandoffID(next()))
    }
  }

  static var messageKinds: Int { 26 }
}
