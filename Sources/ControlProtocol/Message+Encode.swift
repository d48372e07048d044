// SPDX-License-Identifier: Apache-2.0

internal import Handoff
internal import Rules
internal import Wire

extension Message {
  /// Appends the message as one whole frame; lists above `ControlProtocolLimit.batch` as several. Text above 255 bytes is
  /// cut at a character border.
  ///
  /// - Precondition: a cluster view and a registration keep within `ControlProtocolLimit`; whoever builds them refuses
  ///   more members than that.
  public func encode(into bytes: inout [UInt8]) {
    switch self {
    case .hello(let hello):
      Message.frame(.hello, bodyLength: 11 + BodyLength.text(hello.name), into: &bytes) { output in
        output.append(bigEndian: hello.version)
        output.append(hello.role.rawValue)
        output.append(bigEndian: hello.instance)
        output.append(text: hello.name)
      }
    case .ping: Message.frame(.ping, bodyLength: 0, into: &bytes) { _ in }
    case .pong: Message.frame(.pong, bodyLength: 0, into: &bytes) { _ in }
    case .goodbye(let text):
      Message.frame(.goodbye, bodyLength: BodyLength.text(text), into: &bytes) { $0.append(text: text) }
    case .registerBackEnd(let registration):
      Message.frame(.registerBackEnd, bodyLength: registration.encodedLength, into: &bytes) {
        registration.encode(to: &$0)
      }
    case .registerDistributor(let registration):
      Message.encode(services: registration.services, into: &bytes)
    case .loadReport(let report):
      Message.frame(.loadReport, bodyLength: 9, into: &bytes) { output in
        output.append(bigEndian: report.ended)
        output.append(bigEndian: report.active)
        output.append(report.state.rawValue)
      }
    case .clusterView(let view): view.encode(into: &bytes)
    case .rules(let set):
      Message.frame(.rules, bodyLength: set.encodedLength, into: &bytes) { set.encode(to: &$0) }
    case .decisionRequests, .assignmentsReturned, .leaseAccounts, .leaseCredits, .decisions, .handoffsEnded,
      .handoffsCut, .handoffsAccepted, .flowsEnded, .flowsHeld, .targetLeases:
      encodeList(into: &bytes)
    case .handoff, .handoffAccepted, .handoffRefused, .abortHandoff, .packetHandoffs, .handoffWanted:
      encodeHandoffMessage(into: &bytes)
    }
  }

  private func encodeList(into bytes: inout [UInt8]) {
    switch self {
    case .decisionRequests(let requests):
      ListCodec.encode(requests, .decisionRequests, elementLength: DecisionCodec.requestLength, into: &bytes) {
        DecisionCodec.append($0, to: &$1)
      }
    case .assignmentsReturned(let backEnds):
      ListCodec.encode(backEnds, .assignmentsReturned, elementLength: 2, into: &bytes) {
        $1.append(bigEndian: $0.rawValue)
      }
    case .leaseAccounts(let accounts):
      ListCodec.encode(accounts, .leaseAccounts, elementLength: DecisionCodec.accountLength, into: &bytes) {
        DecisionCodec.append($0, to: &$1)
      }
    case .leaseCredits(let credits):
      ListCodec.encode(credits, .leaseCredits, elementLength: DecisionCodec.creditLength, into: &bytes) {
        DecisionCodec.append($0, to: &$1)
      }
    case .targetLeases(let leases):
      ListCodec.encode(leases, .targetLeases, elementLength: DecisionCodec.targetLeaseLength, into: &bytes) {
        DecisionCodec.append($0, to: &$1)
      }
    case .decisions(let decisions):
      ListCodec.encode(decisions, .decisions, elementLength: DecisionCodec.decisionLength, into: &bytes) {
        DecisionCodec.append($0, to: &$1)
      }
    case .handoffsEnded(let ids):
      ListCodec.encode(ids, .handoffsEnded, elementLength: 8, into: &bytes) { $1.append(bigEndian: $0.rawValue) }
    case .handoffsCut(let ids):
      ListCodec.encode(ids, .handoffsCut, elementLength: 8, into: &bytes) { $1.append(bigEndian: $0.rawValue) }
    case .handoffsAccepted(let ids):
      ListCodec.encode(ids, .handoffsAccepted, elementLength: 8, into: &bytes) { $1.append(bigEndian: $0.rawValue) }
    case .flowsEnded(let flows): Message.encode(flows, .flowsEnded, into: &bytes)
    case .flowsHeld(let flows): Message.encode(flows, .flowsHeld, into: &bytes)
    default: preconditionFailure("not a list message")
    }
  }

  /// Bytes of two endpoints.
  static let flowLength = 36

  private static func encode(_ flows: [FlowTuple], _ type: MessageType, into bytes: inout [UInt8]) {
    ListCodec.encode(flows, type, elementLength: flowLength, into: &bytes) { flow, output in
      output.append(flow.client)
      output.append(flow.service)
    }
  }

  private func encodeHandoffMessage(into bytes: inout [UInt8]) {
    switch self {
    case .handoff(let handoff):
      Message.encodeHandoff(
        id: handoff.id, snapshot: handoff.snapshot, request: handoff.request.span,
        wasSentByPacket: handoff.wasSentByPacket, into: &bytes)
    case .handoffAccepted(let id):
      Message.frame(.handoffAccepted, bodyLength: 8, into: &bytes) { $0.append(bigEndian: id.rawValue) }
    case .handoffRefused(let id, let reason):
      Message.frame(.handoffRefused, bodyLength: 9, into: &bytes) { output in
        output.append(bigEndian: id.rawValue)
        output.append(reason.rawValue)
      }
    case .abortHandoff(let id):
      Message.frame(.abortHandoff, bodyLength: 8, into: &bytes) { $0.append(bigEndian: id.rawValue) }
    case .handoffWanted(let id):
      Message.frame(.handoffWanted, bodyLength: 8, into: &bytes) { $0.append(bigEndian: id.rawValue) }
    case .packetHandoffs(let offer):
      Message.frame(.packetHandoffs, bodyLength: 20, into: &bytes) { output in
        output.append(bigEndian: offer.port)
        output.append(offer.loop)
        output.append((offer.takesIPv4 ? 1 : 0) | (offer.takesIPv6 ? 2 : 0))
        output.append(bigEndian: offer.key.first)
        output.append(bigEndian: offer.key.second)
      }
    default: preconditionFailure("not a handoff message")
    }
  }

  private static func encode(services: [Endpoint], into bytes: inout [UInt8]) {
    precondition(services.count <= ControlProtocolLimit.services, "more services than a registration holds")
    frame(.registerDistributor, bodyLength: 2 + services.count * 18, into: &bytes) { output in
      output.append(bigEndian: UInt16(services.count))
      for service in services { output.append(service) }
    }
  }

  static func frame(
    _ type: MessageType, bodyLength: Int, into bytes: inout [UInt8], _ body: (inout OutputSpan<UInt8>) -> Void
  ) {
    bytes.append(addingCapacity: FrameHeader.length + bodyLength) { (output: inout OutputSpan<UInt8>) in
      output.append(bodyLength: bodyLength, type)
      body(&output)
    }
  }
}

extension BackEndRegistration {
  var encodedLength: Int { 32 + BodyLength.texts(pools) }

  func encode(to output: inout OutputSpan<UInt8>) {
    output.append(address)
    output.append(mac)
    output.append(bigEndian: handoffPort)
    output.append(bigEndian: serverPort)
    output.append(bigEndian: weight)
    output.append(bigEndian: maximumConnections)
    output.append(texts: pools)
  }
}

extension ClusterView {
  func encode(into bytes: inout [UInt8]) {
    precondition(
      backEnds.count <= ControlProtocolLimit.backEnds && services.count <= ControlProtocolLimit.services,
      "more members than a cluster view holds")
    var length = 8 + 2 + 2 + services.count * 18
    for backEnd in backEnds { length += 11 + BodyLength.text(backEnd.name) + backEnd.registration.encodedLength }
    Message.frame(.clusterView, bodyLength: length, into: &bytes) { output in
      output.append(bigEndian: epoch)
      output.append(bigEndian: UInt16(backEnds.count))
      for backEnd in backEnds {
        output.append(bigEndian: backEnd.id.rawValue)
        output.append(backEnd.state.rawValue)
        output.append(bigEndian: backEnd.instance)
        output.append(text: backEnd.name)
        backEnd.registration.encode(to: &output)
      }
      output.append(bigEndian: UInt16(services.count))
      for service in services { output.append(service) }
    }
  }
}
