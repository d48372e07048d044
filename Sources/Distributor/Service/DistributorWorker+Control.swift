// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import DistributorCore
import Handoff
import LinuxKernel
import Logging
import Rules

extension DistributorWorker {
  mutating func dispatcherReady() {
    var events: [Dialer.Event] = []
    dispatcher.ready(now: core.now) { events.append($0) }
    for event in events { handleDispatcher(event) }
    perform()
  }

  mutating func backEndReady(_ number: Int) {
    guard number < backEnds.count, let link = backEnds[number] else { return }
    // What came before the back-end's word belongs before it: a flow is entered with the knowledge that its client closed,
    // and a connection begins before it ends.
    receiveAllPackets()
    var events: [Dialer.Event] = []
    link.dialer.ready(now: core.now) { events.append($0) }
    // Bytes may wait, or the next attempt to connect.
    backEnds[number]?.turnAt = 0
    for event in events { handleBackEnd(UInt16(number), event) }
    perform()
    // Packets of connections that were just established may wait in the queue, while the kernel already forwards the ones
    // behind them.
    receivePackets()
  }

  /// Sends what the turn queued and keeps every control connection alive.
  mutating func turnLinks() {
    if let connection = dispatcher.connection {
      let batch = decisions.nextBatch()
      // Before assignments are returned that a lease made.
      tellLeases(to: connection, alongside: batch != nil || !returned.isEmpty)
      if let batch { connection.send(.decisionRequests(batch.map { translation.outgoing($0) })) }
      if !returned.isEmpty {
        connection.send(.assignmentsReturned(returned.compactMap { translation.id(of: $0) }))
        returned.removeAll(keepingCapacity: true)
      }
    } else {
      // A dispatcher that comes back counts anew from the agents' load reports.
      returned.removeAll(keepingCapacity: true)
    }
    var events: [Dialer.Event] = []
    var deadline = dispatcher.turn(dispatcherEvents.members, now: core.now) { events.append($0) }
    for event in events { handleDispatcher(event) }
    // What an event queued is written in the next turn, which must not wait.
    if !events.isEmpty { deadline = core.now }
    for number in backEnds.indices {
      guard let turnAt = backEnds[number]?.turnAt else { continue }
      // Most turns have nothing to do with most back-ends.
      if core.now < turnAt, backEnds[number]?.dialer.wantsWrite != true {
        deadline = min(deadline, turnAt)
        continue
      }
      guard let link = backEnds[number] else { continue }
      events.removeAll()
      let next = link.dialer.turn(agentEvents.members, now: core.now) { events.append($0) }
      deadline = min(deadline, next)
      backEnds[number]?.turnAt = next
      for event in events { handleBackEnd(UInt16(number), event) }
      if !events.isEmpty {
        deadline = core.now
        backEnds[number]?.turnAt = core.now
      }
      if let lostAt = link.lostAt, core.now >= lostAt + DistributorWorker.backEndGrace {
        forgetFlows(of: UInt16(number))
      }
    }
    linkDeadline = min(deadline, leases.nextDeadline ?? .max)
    let isConnected = dispatcher.connection != nil
    if isConnected != wasConnected {
      wasConnected = isConnected
      shared.setReady(worker: index, dispatcher: isConnected)
    }
  }

  private mutating func handleDispatcher(_ event: Dialer.Event) {
    switch event {
    case .established(let connection, let peer):
      logger.info("dispatcher connected", metadata: ["dispatcher": "\(peer.name)", "worker": "\(index)"])
      connection.send(.registerDistributor(DistributorRegistration(services: configuration.services)))
    case .message(.decisions(let answers)):
      for answer in answers {
        takeLease(answer, wanted: decisions.asked[answer.id])
        decided(answer, wanted: decisions.asked[answer.id])
      }
      decisions.answered(answers)
    case .message(.leaseCredits(let credits)): for credit in credits { takeCredits(credit) }
    case .message(.targetLeases(let targets)): takeTargets(targets)
    case .message(.clusterView(let view)): apply(translation.learn(view, shared.numbers(of: view)))
    case .message(.rules(let rules)):
      core.responder.setRules(rules)
      lending?.isAllowed = rules.rules.isEmpty
      if !rules.rules.isEmpty { dropAllLeases() }
    case .message: break
    case .refused(let reason): logger.error("the dispatcher refuses this node", metadata: ["reason": "\(reason)"])
    case .lost(let error, let wasEstablished):
      if wasEstablished {
        logger.warning(
          "dispatcher lost; deciding locally by bounded-load hashing until it is back",
          metadata: ["error": "\(error)", "worker": "\(index)"])
      }
      forgetLeases()
      // Its successor may number the nodes otherwise, and says how before anything else.
      translation = BackEndTranslation()
      for request in decisions.takeAll() { decideLocally(request) }
    }
  }

  private mutating func decided(_ decision: Decision, wanted request: DecisionRequest?) {
    let outcome: DecisionOutcome
    switch decision.outcome {
    case .assigned(let id): outcome = translation.number(of: id).map { .backEnd($0) } ?? .noBackEnd
    case .noBackEnd: outcome = .noBackEnd
    case .overloaded: outcome = .overloaded
    }
    // A dispatcher that has just come back may hear of the back-ends later than of the distributors.
    if outcome == .noBackEnd, let request { return decideLocally(request) }
    core.responder.decided(HandoffID(decision.id), outcome, now: core.now, into: &core.actions)
  }
}
