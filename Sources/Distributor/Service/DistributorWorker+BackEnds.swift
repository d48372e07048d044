// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import DistributorCore
import ForwardingPlane
import Handoff
import LinuxKernel
import Logging
import Wire

/// Membership, and what agents say.
extension DistributorWorker {
  /// Takes over a membership: links to new back-ends, new links where an address or a process changed.
  mutating func apply(_ view: ClusterView) {
    if view.backEnds != self.view.backEnds { dropAllLeases() }
    self.view = view
    for description in view.backEnds {
      let number = Int(description.id.rawValue)
      while backEnds.count <= number { backEnds.append(nil) }
      let endpoint = Endpoint(description.registration.address, description.registration.handoffPort)
      if var link = backEnds[number], link.dialer.endpoint == endpoint, link.description.name == description.name {
        if link.reach == nil || link.description.registration != description.registration {
          link.reach = reach(description)
        }
        link.update(description)
        backEnds[number] = link
      } else {
        replaceLink(UInt16(number), description, endpoint)
      }
    }
    announceLongestPacket()
  }

  /// A new node, one that took over the number of one that left, or one that was moved to another address.
  private mutating func replaceLink(_ number: UInt16, _ description: BackEndDescription, _ endpoint: Endpoint) {
    let hello = Hello(
      role: .distributor, instance: configuration.instance, name: "\(configuration.nodeName)/\(index)")
    var link = BackEndLink(
      description: description,
      dialer: Dialer(
        to: endpoint, from: configuration.internalAddress, as: hello, expecting: .backEnd, token: UInt64(number),
        now: core.now),
      reach: reach(description))
    guard let former = backEnds[Int(number)] else {
      backEnds[Int(number)] = link
      return
    }
    // The control connection ends with its link; what is done for its connections goes their way.
    if former.dialer.connection != nil { backEndLost(number, isSilent: false) }
    perform()
    if former.description.name == description.name {
      // Where it is the same process its connections live on.
      link.load = former.load
      link.instance = former.instance
      link.lostAt = former.lostAt ?? core.now
      backEnds[Int(number)] = link
    } else {
      forgetFlows(of: number)
      // The dispatcher would take them for the newcomer's.
      returned.removeAll { $0 == number }
      backEnds[Int(number)] = link
    }
  }

  func reach(_ description: BackEndDescription) -> FlowEntry.Action? {
    do {
      return try shared.reach.find(description.registration, now: core.now)
    } catch {
      logger.error(
        "a back-end gets no connections: packets cannot be forwarded to it",
        metadata: ["back-end": "\(description.name)", "error": "\(error)"])
      return nil
    }
  }

  mutating func handleBackEnd(_ number: UInt16, _ event: Dialer.Event) {
    switch event {
    case .established(let connection, let peer):
      logger.info("back-end connected", metadata: ["back-end": "\(peer.name)", "worker": "\(index)"])
      if peer.name != backEnds[Int(number)]?.description.name {
        // The node of that name is gone, and another one has its address: there is a link to that one, or will be.
        forgetFlows(of: number)
        backEnds[Int(number)] = nil
        return
      }
      if let known = backEnds[Int(number)]?.instance, known != peer.instance { forgetFlows(of: number) }
      backEnds[Int(number)]?.instance = peer.instance
      // What ended meanwhile nobody may have told. Handoffs that were under way have been dealt with when the connection broke.
      let held = flows.flows(at: number)
      if !held.isEmpty { connection.send(.flowsHeld(held)) }
      // The way there may be another one than it was.
      if let description = backEnds[Int(number)]?.description {
        let reach = reach(description)
        backEnds[Int(number)]?.reach = reach
        announceLongestPacket()
      }
      backEnds[Int(number)]?.lostAt = nil
    case .message(.handoffAccepted(let id)): accept(id, at: number)
    case .message(.packetHandoffs(let offer)): backEnds[Int(number)]?.offer = configuration.sendsPackets ? offer : nil
    case .message(.handoffsAccepted(let ids)):
      backEnds[Int(number)]?.packetsUnconfirmed = 0
      for id in ids { accept(id, at: number) }
    case .message(.handoffWanted(let id)):
      // It came through.
      backEnds[Int(number)]?.packetsUnconfirmed = 0
      core.responder.handoffWanted(id, by: number, now: core.now, into: &core.actions)
      disownUnwatched(id)
    case .message(.handoffRefused(let id, let reason)):
      unload(number, 1)
      if reason != .tupleInUse { dropLeases(of: number) }
      core.responder.handoffRefused(id, reason, now: core.now, into: &core.actions)
    case .message(.handoffsEnded(let ids)): end(ids, at: number, marking: false)
    case .message(.handoffsCut(let ids)): end(ids, at: number, marking: true)
    case .message(.flowsEnded(let tuples)): end(handoffs(of: tuples, at: number), at: number, marking: true)
    case .message: break
    case .refused(let reason):
      logger.error("a back-end refuses this node", metadata: ["back-end": "\(number)", "reason": "\(reason)"])
    case .lost(let error, let wasEstablished):
      guard wasEstablished else { return }
      logger.warning("back-end lost", metadata: ["back-end": "\(number)", "error": "\(error)"])
      backEndLost(number, isSilent: error.isSilence)
    }
  }

  private mutating func backEndLost(_ number: UInt16, isSilent: Bool) {
    // The kernel hands nothing more off there, and what it did is known before the loss is dealt with.
    dropLeases(of: number)
    receiveAllPackets()
    core.responder.backEndLost(number, isSilent: isSilent, now: core.now, into: &core.actions)
    backEnds[Int(number)]?.lostAt = core.now
    backEnds[Int(number)]?.offer = nil
  }

  /// A back-end has the connection. It may say so late, when its kernel did not tell of the beginning: what its client has
  /// acknowledged bytes of is at work there, and long gone from the responder.
  private mutating func accept(_ id: HandoffID, at number: UInt16) {
    if !core.responder.knows(id), flows.flow(of: id) != nil { return }
    core.responder.handoffAccepted(id, by: number, now: core.now, into: &core.actions)
  }

  /// - Parameter marking: their clients may not have closed: the flow table is told that a new SYN is right.
  private mutating func end(_ ids: [HandoffID], at number: UInt16, marking: Bool) {
    var ended: UInt32 = 0
    for id in ids {
      if core.responder.handoffEnded(id, by: number, now: core.now, into: &core.actions) {
        backEnds[Int(number)]?.packetsUnconfirmed = 0
      }
      if !core.actions.actions.isEmpty { perform() }
      if flows.ended(id, marking: marking, in: shared.flowTable, now: core.now) { ended += 1 }
    }
    if ended > 0 { unload(number, ended) }
  }

  /// Nanoseconds: a connection that was younger when its flow was said to be over is the client's next one.
  private static let nextOfTuple: UInt64 = 500_000_000

  /// This worker's handoffs among flows of a back-end that are over.
  private func handoffs(of tuples: [FlowTuple], at number: UInt16) -> [HandoffID] {
    tuples.compactMap { tuple in
      guard let entry = shared.flowTable.lookup(tuple), entry.backEnd == number, let flow = flows[entry.handoff],
        flow.flow == tuple, core.now >= flow.since + DistributorWorker.nextOfTuple
      else { return nil }
      return entry.handoff
    }
  }

  mutating func unload(_ backEnd: UInt16, _ count: UInt32) {
    guard var link = backEnds[Int(backEnd)] else { return }
    link.load = link.load > count ? link.load - count : 0
    backEnds[Int(backEnd)] = link
  }

  /// How long connections at a back-end live on without its control connection, in nanoseconds: it may be the connection
  /// that broke, not the node.
  static let backEndGrace: UInt64 = 10_000_000_000

  /// The agent is gone and every connection with it: without an entry the client's next packet comes to this process and
  /// is answered with a reset, instead of vanishing on its way to a node that no longer knows it.
  mutating func forgetFlows(of backEnd: UInt16) {
    backEnds[Int(backEnd)]?.load = 0
    backEnds[Int(backEnd)]?.instance = nil
    backEnds[Int(backEnd)]?.lostAt = nil
    statistics.flowsLost += UInt64(flows.removeAll(backEnd: backEnd, from: shared.flowTable))
  }
}
