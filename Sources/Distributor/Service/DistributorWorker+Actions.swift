// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import DistributorCore
import ForwardingPlane
import Handoff
import LinuxKernel
import Logging
import Rules
import Telemetry
import Wire

extension DistributorWorker {
  /// Does what the responder asked for. Doing it may make the responder ask for more: the list is walked by index.
  mutating func perform() {
    var index = 0
    while index < core.actions.actions.count {
      let action = core.actions.actions[index]
      index += 1
      switch action {
      case .transmit(let range): transmits.append(range)
      case .decide(let id, let target, let route, let excluded):
        statistics.decisionsWanted += 1
        wantDecision(
          DecisionRequest(id: id.rawValue, target: target, route: route, excluded: excluded.map { BackEndID($0) }))
      case .handOff(let id, let backEnd, let snapshot, let request, let way):
        handOff(id, to: backEnd, snapshot, request, way)
      case .flowEstablished(
        let id, let flow, let clientInitial, let sendNext, let backEnd, let isClosing, let requestedAt):
        statistics.handoffTime.observe(nanoseconds: core.now &- requestedAt)
        if !establish(id, flow, clientInitial, sendNext, backEnd, isClosing: isClosing) {
          link(backEnd)?.dialer.connection?.send(.abortHandoff(id))
        }
      case .flowClosing(let id, let flow): shared.flowTable.markClosing(flow, ifHandoff: id)
      case .withdrawFlow(let id, let flow, let clientInitial): withdraw(id, flow, clientInitial)
      case .handedOff(let handoff, let flow): noteHandoff(handoff, flow)
      case .disownFlow(let id, let flow, let clientInitial): disown(id, flow, clientInitial)
      case .deliver(let range, let backEnd):
        if let reach = link(backEnd)?.reach { deliver(range, by: reach) }
      case .abortHandoff(let id, let backEnd):
        link(backEnd)?.dialer.connection?.send(.abortHandoff(id))
      case .returnAssignment(let backEnd): returned.append(backEnd)
      case .unknownFlow(let range): forwardOrRefuse(range)
      }
    }
    if !transmits.isEmpty {
      transmit()
    }
    transmits.removeAll(keepingCapacity: true)
    core.actions.removeAll()
  }

  private mutating func transmit() {
    // The local shares the arena's storage and is gone before the arena is written again.
    let (ranges, bytes) = (transmits, core.actions.bytes)
    let sent = delivery.sender.send(ranges.span, of: bytes.span)
    statistics.packetsSent += UInt64(sent)
    statistics.packetsNotSent += UInt64(ranges.count - sent)
  }

  func link(_ backEnd: UInt16) -> BackEndLink? {
    Int(backEnd) < backEnds.count ? backEnds[Int(backEnd)] : nil
  }

  /// Repeats a decision under a lease, or asks the dispatcher, or decides here while it cannot be asked.
  mutating func wantDecision(_ request: DecisionRequest) {
    if decidedByLease(request) { return }
    if dispatcher.connection != nil {
      decisions.add(request)
    } else {
      decideLocally(request)
    }
  }

  mutating func decideLocally(_ request: DecisionRequest) {
    statistics.decisionsLocal += 1
    let excluded = request.excluded?.rawValue
    let pool = request.route.pool
    // Requests that stick are ranked by what they stick by, which all workers do alike and remember nothing for.
    let key = request.route.affinity?.clientKey ?? request.target
    let chosen =
      fallback.choose(target: key, among: candidates(pool) { $0 == .up }.span, excluding: excluded)
      // An agent knows its web server better than what was last heard of it: it takes the connection, or refuses it.
      ?? fallback.choose(target: key, among: candidates(pool) { $0 != .up }.span, excluding: excluded)
    core.responder.decided(
      HandoffID(request.id), chosen.map { .backEnd($0) } ?? .noBackEnd, now: core.now, into: &core.actions)
  }

  /// The back-ends of a pool that can be reached and whose state is as asked.
  private func candidates(
    _ pool: PoolID, _ isAsked: (BackEndState) -> Bool
  ) -> [FallbackPolicy.Candidate] {
    backEnds.compactMap { link in
      guard let link, link.isReady, link.isMember(of: pool), isAsked(link.description.state) else { return nil }
      return FallbackPolicy.Candidate(
        backEnd: link.description.id.rawValue, weight: link.description.registration.weight, load: link.load)
    }
  }

  private mutating func handOff(
    _ id: HandoffID, to backEnd: UInt16, _ snapshot: TCPSnapshot, _ request: Range<Int>, _ way: HandoffWay
  ) {
    guard let link = link(backEnd), link.reach != nil, let connection = link.dialer.connection else {
      core.responder.handoffRefused(id, .serverUnreachable, now: core.now, into: &core.actions)
      return
    }
    // A connection without a flow-table entry could not be forwarded: better refused while it can be answered.
    guard flows.hasRoom else {
      statistics.flowTableFull += 1
      core.responder.handoffRefused(id, .overloaded, now: core.now, into: &core.actions)
      return
    }
    if way != .messageAfterPacket { backEnds[Int(backEnd)]?.load += 1 }
    if way == .packetOrMessage, enterAndSend(id, backEnd, link, snapshot, request) {
      core.responder.handoffPassed(id, now: core.now, into: &core.actions)
      return
    }
    answersUrgentUntil = core.now + DistributorWorker.answerTime
    let bytes = core.actions.bytes
    connection.sendHandoff(
      id: id, snapshot: snapshot, request: bytes.span.extracting(request),
      wasSentByPacket: way == .messageAfterPacket)
  }

  /// Returns false when the handoff cannot go by packet; nothing has changed then.
  private mutating func enterAndSend(
    _ id: HandoffID, _ backEnd: UInt16, _ link: BackEndLink, _ snapshot: TCPSnapshot, _ request: Range<Int>
  ) -> Bool {
    guard let reach = link.reach,
      let offer = link.packetOffer(isIPv4: snapshot.flow.client.address.isIPv4, now: core.now)
    else { return false }
    let packet = HandoffPacket(origin: origin, id: id, loop: offer.loop, snapshot: snapshot)
    guard packet.length(requestBytes: request.count) <= HandoffPacket.limit else { return false }
    // Entered first: where the way is short, the client acknowledges the answer before sending has returned.
    guard
      establish(
        id, snapshot.flow, snapshot.clientInitialSequence, snapshot.sendNext, backEnd, isClosing: false)
    else { return false }
    let bytes = core.actions.bytes
    if delivery.send(
      packet, bytes.span.extracting(request), offer, to: link.description.registration.address, by: reach)
    {
      return true
    }
    _ = flows.withdraw(id)
    _ = shared.flowTable.remove(snapshot.flow, ifHandoff: id)
    return false
  }

  /// Takes a flow back out of the kernel's table, since nobody has said that its back-end has it.
  private mutating func withdraw(_ id: HandoffID, _ flow: FlowTuple, _ clientInitial: SequenceNumber) {
    if let backEnd = flows.withdraw(id) {
      backEnds[Int(backEnd)]?.packetUnconfirmed(now: core.now)
      if let link = link(backEnd), core.now < link.packetsPausedUntil { dropLeases(of: backEnd) }
    }
    // Before the entry goes: the client repeats its request, and the kernel must not hand it off once more.
    lending?.lender.claim(flow, clientInitial: clientInitial)
    let seen = shared.flowTable.withdraw(flow, handoff: id)
    core.responder.flowWithdrawn(
      id, isAnswered: seen?.contains(.acknowledged) ?? false, now: core.now, into: &core.actions)
  }

  /// The back-end has the connection, or gets it: from here on the kernel forwards.
  ///
  /// - Returns: whether it does.
  private mutating func establish(
    _ id: HandoffID, _ flow: FlowTuple, _ clientInitialSequence: SequenceNumber, _ sendNext: SequenceNumber,
    _ backEnd: UInt16, isClosing: Bool
  ) -> Bool {
    // What goes by packet was entered before.
    if flows.flow(of: id) != nil { return true }
    guard let reach = link(backEnd)?.reach else { return false }
    do throws(ForwardingPlaneError) {
      try shared.flowTable.insert(
        flow,
        FlowEntry(
          action: reach, clientISN: clientInitialSequence, handoff: id, backEnd: backEnd, now: core.now,
          seen: isClosing ? .fin : [], sendNext: UInt16(truncatingIfNeeded: sendNext.rawValue)))
      flows.begin(id, LiveFlow(flow: flow, backEnd: backEnd, since: core.now))
      return true
    } catch {
      statistics.flowTableFull += 1
      logger.error("cannot enter a flow into the forwarding table", metadata: ["flow": "\(flow)", "error": "\(error)"])
      return false
    }
  }

  /// Sends a client's packet to a back-end the way the kernel would have. A packet that the interface does not take is lost
  /// as on any link: the client repeats it.
  private mutating func deliver(_ range: Range<Int>, by reach: FlowEntry.Action) {
    statistics.packetsDelivered += 1
    let bytes = core.actions.bytes
    delivery.send(bytes.span.extracting(range), by: reach)
  }

  /// A segment that the responder does not know: its flow may have been entered after the packet passed the kernel's
  /// table, or by an earlier process. Only a flow that nobody knows is refused.
  private mutating func forwardOrRefuse(_ range: Range<Int>) {
    let packet = Array(core.actions.bytes[range])
    if let parsed = try? TCPSegment.parse(packet.span, checksums: .ignored) {
      let flow = FlowTuple(client: parsed.segment.source, service: parsed.segment.destination)
      if let entry = shared.flowTable.lookup(flow) {
        deliver(range, by: entry.action)
        return
      }
    }
    statistics.unknownFlowPackets += 1
    core.responder.refuseUnknown(packet.span, now: core.now, into: &core.actions)
  }
}
