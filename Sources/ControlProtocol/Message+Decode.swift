// SPDX-License-Identifier: Apache-2.0

internal import Handoff
internal import Rules
internal import Wire

extension Message {
  /// Reads the body of one frame. Never traps, whatever the bytes are; allocates no more than the body's length allows.
  public static func decode(type: UInt8, body: Span<UInt8>) throws(ControlProtocolError) -> Message {
    guard let type = MessageType(rawValue: type) else { throw .unknownType }
    guard body.count <= FrameHeader.maximumBodyLength else { throw .bodyTooLong }
    switch type {
    case .decisionRequests, .assignmentsReturned, .leaseAccounts, .leaseCredits, .decisions, .handoffsEnded,
      .handoffsCut, .handoffsAccepted, .flowsEnded, .flowsHeld, .targetLeases:
      return try decodeList(type, body)
    case .handoff: return .handoff(try HandoffCodec.decode(body))
    default: break
    }
    var reader = BodyReader()
    let message = try decodeFields(type, body, &reader)
    try reader.finish(body)
    return message
  }

  private static func decodeFields(
    _ type: MessageType, _ body: Span<UInt8>, _ reader: inout BodyReader
  ) throws(ControlProtocolError) -> Message {
    switch type {
    case .hello:
      let version = try reader.uint16(body)
      guard let role = Role(rawValue: try reader.uint8(body)) else { throw .invalidRole }
      let instance = try reader.uint64(body)
      return .hello(Hello(version: version, role: role, instance: instance, name: try reader.text(body)))
    case .ping: return .ping
    case .pong: return .pong
    case .goodbye: return .goodbye(try reader.text(body))
    case .registerBackEnd: return .registerBackEnd(try BackEndRegistration(body, &reader))
    case .registerDistributor:
      return .registerDistributor(DistributorRegistration(services: try decodeServices(body, &reader)))
    case .loadReport:
      let ended = try reader.uint32(body)
      let active = try reader.uint32(body)
      return .loadReport(LoadReport(ended: ended, active: active, state: try reader.backEndState(body)))
    case .clusterView: return .clusterView(try ClusterView(body, &reader))
    case .rules: return .rules(try RuleSet(body, &reader))
    case .handoffAccepted: return .handoffAccepted(HandoffID(try reader.uint64(body)))
    case .handoffRefused:
      let id = HandoffID(try reader.uint64(body))
      guard let reason = HandoffRefusal(rawValue: try reader.uint8(body)) else { throw .invalidHandoffRefusal }
      return .handoffRefused(id, reason)
    case .abortHandoff: return .abortHandoff(HandoffID(try reader.uint64(body)))
    case .handoffWanted: return .handoffWanted(HandoffID(try reader.uint64(body)))
    case .packetHandoffs: return .packetHandoffs(try PacketHandoffOffer(body, &reader))
    case .decisionRequests, .assignmentsReturned, .leaseAccounts, .leaseCredits, .decisions, .handoffsEnded,
      .handoffsCut, .handoffsAccepted, .flowsEnded, .flowsHeld, .targetLeases, .handoff:
      preconditionFailure("decoded by the caller")
    }
  }

  private static func decodeList(_ type: MessageType, _ body: Span<UInt8>) throws(ControlProtocolError) -> Message {
    switch type {
    case .decisionRequests:
      let count = try DecisionCodec.requestCount(in: body)
      var requests: [DecisionRequest] = []
      requests.reserveCapacity(count)
      for index in 0..<count { requests.append(try DecisionCodec.request(at: index, in: body)) }
      return .decisionRequests(requests)
    case .decisions:
      let count = try ListCodec.count(body, elementLength: DecisionCodec.decisionLength)
      var decisions: [Decision] = []
      decisions.reserveCapacity(count)
      for index in 0..<count { decisions.append(try DecisionCodec.decision(at: index, in: body)) }
      return .decisions(decisions)
    case .assignmentsReturned:
      let count = try ListCodec.count(body, elementLength: 2)
      return .assignmentsReturned((0..<count).map { BackEndID(body.readUInt16(at: $0 * 2)) })
    case .leaseAccounts:
      let count = try ListCodec.count(body, elementLength: DecisionCodec.accountLength)
      var accounts: [LeaseAccount] = []
      accounts.reserveCapacity(count)
      for index in 0..<count { accounts.append(try DecisionCodec.account(at: index, in: body)) }
      return .leaseAccounts(accounts)
    case .leaseCredits:
      let count = try ListCodec.count(body, elementLength: DecisionCodec.creditLength)
      return .leaseCredits((0..<count).map { DecisionCodec.credit(at: $0, in: body) })
    case .targetLeases:
      let count = try ListCodec.count(body, elementLength: DecisionCodec.targetLeaseLength)
      var leases: [TargetLease] = []
      leases.reserveCapacity(count)
      for index in 0..<count { leases.append(try DecisionCodec.targetLease(at: index, in: body)) }
      return .targetLeases(leases)
    case .handoffsEnded: return .handoffsEnded(try decodeHandoffs(body))
    case .handoffsCut: return .handoffsCut(try decodeHandoffs(body))
    case .handoffsAccepted: return .handoffsAccepted(try decodeHandoffs(body))
    case .flowsEnded: return .flowsEnded(try decodeFlows(body))
    case .flowsHeld: return .flowsHeld(try decodeFlows(body))
    default: preconditionFailure("not a list message")
    }
  }

  private static func decodeHandoffs(_ body: Span<UInt8>) throws(ControlProtocolError) -> [HandoffID] {
    let count = try ListCodec.count(body, elementLength: 8)
    return (0..<count).map { HandoffID(body.readUInt64(at: $0 * 8)) }
  }

  private static func decodeFlows(_ body: Span<UInt8>) throws(ControlProtocolError) -> [FlowTuple] {
    let count = try ListCodec.count(body, elementLength: flowLength)
    var reader = BodyReader()
    var flows: [FlowTuple] = []
    flows.reserveCapacity(count)
    for _ in 0..<count {
      let client = try reader.endpoint(body)
      flows.append(FlowTuple(client: client, service: try reader.endpoint(body)))
    }
    return flows
  }

  fileprivate static func decodeServices(
    _ body: Span<UInt8>, _ reader: inout BodyReader
  ) throws(ControlProtocolError) -> [Endpoint] {
    let count = try reader.count(body, limit: ControlProtocolLimit.services)
    var services: [Endpoint] = []
    for _ in 0..<count { services.append(try reader.endpoint(body)) }
    return services
  }
}

extension PacketHandoffOffer {
  fileprivate init(_ body: Span<UInt8>, _ reader: inout BodyReader) throws(ControlProtocolError) {
    let port = try reader.uint16(body)
    let loop = try reader.uint8(body)
    let families = try reader.uint8(body)
    guard families & ~3 == 0 else { throw .invalidFlags }
    let key = HandoffPacketKey(try reader.uint64(body), try reader.uint64(body))
    self.init(port: port, key: key, loop: loop, takesIPv4: families & 1 != 0, takesIPv6: families & 2 != 0)
  }
}

extension BackEndRegistration {
  fileprivate init(_ body: Span<UInt8>, _ reader: inout BodyReader) throws(ControlProtocolError) {
    let address = try reader.address(body)
    let mac = try reader.macAddress(body)
    let handoffPort = try reader.uint16(body)
    let serverPort = try reader.uint16(body)
    let weight = try reader.uint16(body)
    self.init(
      address: address, mac: mac, handoffPort: handoffPort, serverPort: serverPort, weight: weight,
      maximumConnections: try reader.uint32(body), pools: try reader.texts(body, limit: ControlProtocolLimit.pools))
  }
}

extension ClusterView {
  fileprivate init(_ body: Span<UInt8>, _ reader: inout BodyReader) throws(ControlProtocolError) {
    let epoch = try reader.uint64(body)
    let count = try reader.count(body, limit: ControlProtocolLimit.backEnds)
    var backEnds: [BackEndDescription] = []
    for _ in 0..<count {
      let id = BackEndID(try reader.uint16(body))
      let state = try reader.backEndState(body)
      let instance = try reader.uint64(body)
      let name = try reader.text(body)
      backEnds.append(
        BackEndDescription(
          id: id, name: name, state: state, instance: instance,
          registration: try BackEndRegistration(body, &reader)))
    }
    self.init(epoch: epoch, backEnds: backEnds, services: try Message.decodeServices(body, &reader))
  }
}
