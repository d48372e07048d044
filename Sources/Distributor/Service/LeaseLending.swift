// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DistributorCore
import ForwardingPlane
import Handoff
import LinuxKernel
import Wire

/// What a worker lends to the program in the kernel, and when it looks what became of it.
struct LeaseLending: ~Copyable {
  var lender: LeaseLender
  /// When to look into the ring although nobody woke us; `.max` while nothing came lately.
  private(set) var lookAt = UInt64.max
  /// Handoffs came since the last look.
  var hasSeen = false
  /// The last look that was due found nothing.
  private var wasEmpty = false
  /// Of handoffs under an earlier epoch the dispatcher is not told: another one granted their credits.
  private(set) var accountsFrom: UInt32 = 0
  /// With rules the target alone does not tell the back-end.
  var isAllowed = true

  init(_ lender: consuming LeaseLender) { self.lender = lender }

  mutating func accountsFromNow() { accountsFrom = lender.epoch }

  /// The ring has been read.
  mutating func looked(now: UInt64) {
    if hasSeen {
      (hasSeen, wasEmpty) = (false, false)
      lookAt = MonotonicTime.tick(after: now, every: LeaseLender.lookInterval)
      lender.promiseToLook(until: lookAt)
    } else if now >= lookAt {
      // Twice, since a record may be under way on another processor when the program has decided to wake nobody.
      lookAt = wasEmpty ? .max : MonotonicTime.tick(after: now, every: LeaseLender.lookInterval)
      wasEmpty = true
    }
  }
}

extension DistributorWorker {
  /// Lends the program what the worker has of a back-end.
  mutating func lend(_ backEnd: UInt16) {
    guard lending != nil, lending!.isAllowed, flows.hasRoom, core.responder.hasRoom, showWay(to: backEnd),
      let loan = leases.lend(backEnd: backEnd, now: core.now)
    else { return }
    lending!.lender.lend(loan.credits, of: backEnd, term: loan.term, until: loan.expires)
  }

  /// Takes back what the program has not used.
  mutating func reclaim(_ backEnd: UInt16) {
    if lending == nil { return }
    leases.takeBack(lending!.lender.reclaim(backEnd), backEnd: backEnd)
  }

  mutating func reclaimAll() {
    for backEnd in 0..<UInt16(LeaseTable.backEnds) { reclaim(backEnd) }
  }

  mutating func stopLending() {
    if lending == nil { return }
    lending!.lender.close()
    receivePackets()
  }

  /// Tells the program how handoffs get to a back-end, when that changed.
  ///
  /// - Returns: whether they can.
  private mutating func showWay(to backEnd: UInt16) -> Bool {
    guard let link = link(backEnd) else { return false }
    let node = way(to: link)
    if node != link.shownWay {
      let isShown = lending!.lender.setNode(backEnd, node)
      backEnds[Int(backEnd)]?.shownWay = isShown ? node : nil
    }
    return backEnds[Int(backEnd)]?.shownWay != nil
  }

  private func way(to link: BackEndLink) -> LeaseNode? {
    guard let offer = link.offer, link.isReady, core.now >= link.packetsPausedUntil, let reach = link.reach else {
      return nil
    }
    let node = link.description.registration.address
    let tunnel: Tunnel
    switch reach {
    // The way of the datagram ends where it begins.
    case .deliverLocally: return nil
    case .forward:
      tunnel = Tunnel(
        node: node, source: configuration.internalAddress, interface: shared.reach.interface, mtu: shared.reach.linkMTU)
    case .tunnel(let number):
      guard let known = shared.reach.tunnels[number] else { return nil }
      tunnel = known
    }
    return LeaseNode(offer: offer, reach: reach, tunnel: tunnel)
  }

  /// The program has handed a connection off that stands nowhere and that nobody watches: its client's repeated request is
  /// for this worker.
  mutating func disown(_ id: HandoffID, _ flow: FlowTuple, _ clientInitial: SequenceNumber) {
    if let backEnd = flows.withdraw(id) { unload(backEnd, 1) }
    lending?.lender.claim(flow, clientInitial: clientInitial)
    _ = shared.flowTable.withdraw(flow, handoff: id)
  }

  /// The back-end wants a connection as a message that this worker could not enter.
  mutating func disownUnwatched(_ id: HandoffID) {
    guard id.isByKernel, !core.responder.knows(id), let flow = flows.flow(of: id),
      let entry = shared.flowTable.lookup(flow), entry.handoff == id
    else { return }
    disown(id, flow, entry.clientISN)
  }

  /// The program has handed a connection off.
  mutating func noteHandoff(_ handoff: LeasedHandoff, _ flow: FlowTuple) {
    shared.flowTable.countEntry()
    flows.begin(handoff.id, LiveFlow(flow: flow, backEnd: handoff.backEnd, since: core.now))
    statistics.decisionsWanted += 1
    statistics.decisionsLeased += 1
    backEnds[Int(handoff.backEnd)]?.load += 1
    lending?.hasSeen = true
    if let from = lending?.accountsFrom, handoff.epoch >= from {
      leases.usedInKernel(target: handoff.target, backEnd: handoff.backEnd, term: handoff.term, now: core.now)
    }
  }
}
