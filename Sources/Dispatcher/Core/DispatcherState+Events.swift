// SPDX-License-Identifier: Apache-2.0

internal import ControlProtocol
internal import Rules

extension DispatcherState {
  // MARK: Membership

  mutating func register(
    name: String, instance: UInt64, _ registration: BackEndRegistration, _ peer: PeerID, now: UInt64,
    _ actions: inout [Action]
  ) {
    if let reason = refusal(of: name, instance: instance, peer, now: now) {
      counters.refusedRegistrations += 1
      actions.append(.dismiss(peer, reason))
      return
    }
    var keepsLoad = false
    if let index = registry.index(of: name) {
      let incumbent = registry.members[index]
      keepsLoad = incumbent.instance == instance
      if case .connected(let old) = incumbent.presence, old != peer {
        peers[old] = nil
        actions.append(.dismiss(old, .replaced(name)))
      }
    }
    let isNew = registry.index(of: name) == nil
    let known = registry.members.count
    guard let index = registry.register(name: name, instance: instance, registration: registration, peer: peer)
    else {
      counters.refusedRegistrations += 1
      actions.append(.dismiss(peer, .tooManyBackEnds))
      return
    }
    counters.registrations += 1
    if isNew, index < known { affinities.forget(index) }
    peers[peer] = .backEnd(index)
    lastHeard[index] = now
    let wasUp = loads.state(index) == .up
    if !keepsLoad { leases.void(index) }
    loads.register(
      index, weight: UInt32(registration.weight), hardMaximum: registration.maximumConnections, keepingLoad: keepsLoad)
    // A node gets nothing before its first report, which says how many connections it has: what was assigned before would
    // be counted twice, in flight and in the report.
    if !(wasUp && keepsLoad) {
      slowStart.end(index)
      loads.set(index, state: .down)
    }
    membersChanged(&actions)
    serveQueue(now: now, &actions)
  }

  private func refusal(of name: String, instance: UInt64, _ peer: PeerID, now: UInt64) -> Dismissal? {
    switch peers[peer] {
    case .distributor: return .alreadyRegistered
    case .backEnd(let index): return registry.members[index].name == name ? nil : .alreadyRegistered
    case nil: break
    }
    guard let index = registry.index(of: name), case .connected = registry.members[index].presence else { return nil }
    // The same process on a new connection: the old connection is dead, whatever we know of it.
    if registry.members[index].instance == instance { return nil }
    return now - lastHeard[index] < parameters.takeoverSilence ? .nameTaken(name) : nil
  }

  private mutating func bringUp(_ index: Int, now: UInt64) {
    let others = loads.eligible.subtracting(.index(index))
    loads.set(index, ramp: slowStart.begin(index, now: now, othersAreUp: !others.isEmpty))
    loads.set(index, state: .up)
  }

  mutating func register(
    _ registration: DistributorRegistration, _ peer: PeerID, _ actions: inout [Action]
  ) {
    if case .backEnd = peers[peer] {
      counters.refusedRegistrations += 1
      actions.append(.dismiss(peer, .alreadyRegistered))
      return
    }
    guard registry.setServices(registration.services, of: peer) else {
      counters.refusedRegistrations += 1
      actions.append(.dismiss(peer, .tooManyServices))
      return
    }
    counters.registrations += 1
    peers[peer] = .distributor
    leases.join(peer)
    registry.changed()
    actions.append(.publishView)
  }

  mutating func heard(_ peer: PeerID, now: UInt64) {
    if case .backEnd(let index) = peers[peer] { lastHeard[index] = now }
  }

  mutating func lose(_ peer: PeerID, now: UInt64, _ actions: inout [Action]) {
    abandonQueue(of: peer)
    switch peers.removeValue(forKey: peer) {
    case nil: break
    case .distributor:
      for (index, credits) in leases.leave(peer) { loads.release(index, credits: credits) }
      serveQueue(now: now, &actions)
      if registry.removeServices(of: peer) {
        registry.changed()
        actions.append(.publishView)
      }
    case .backEnd(let index):
      counters.lostBackEnds += 1
      registry.leave(index, now: now)
      slowStart.end(index)
      leases.void(index)
      loads.lose(index)
      membersChanged(&actions)
      // Those who waited for a node of a pool that has none left learn it now.
      serveQueue(now: now, &actions)
    }
  }

  /// States or weights changed: everything that is computed from them, and everybody who knows them.
  private mutating func membersChanged(_ actions: inout [Action]) {
    var ring: [HashRing.Member] = []
    for index in registry.members.indices {
      ring.append(
        HashRing.Member(
          index: index, weight: loads.weight(index), seed: HashRing.seed(of: registry.members[index].name)))
    }
    policy.membershipChanged(ring)
    pools.removeAll(keepingCapacity: true)
    for index in registry.members.indices {
      for name in registry.members[index].registration.pools { join(index, PoolID(name)) }
    }
    admissionLimit = parameters.admission.limit(parameters.thresholds, loads)
    registry.changed()
    actions.append(.publishView)
  }

  private mutating func join(_ index: Int, _ pool: PoolID) {
    if let known = pools.firstIndex(where: { $0.id == pool }) {
      pools[known].members.insert(index)
    } else {
      pools.append((pool, .index(index)))
    }
  }

  // MARK: Load

  mutating func giveBack(_ id: BackEndID, now: UInt64, _ actions: inout [Action]) {
    let index = Int(id.rawValue)
    guard index < BackEndSet.capacity, loads.giveBack(index) else {
      counters.returnedUnknown &+= 1
      return
    }
    counters.returned &+= 1
    serveQueue(now: now, &actions)
  }

  mutating func take(
    _ report: LoadReport, _ diskQueue: UInt32, from peer: PeerID, now: UInt64, _ actions: inout [Action]
  ) {
    guard case .backEnd(let index) = peers[peer] else {
      counters.strayReports &+= 1
      return
    }
    counters.reports &+= 1
    lastHeard[index] = now
    loads.report(index, ended: report.ended, active: report.active, diskQueue: diskQueue)
    let before = loads.state(index)
    if before != report.state {
      if report.state == .up {
        // From draining a node comes back with a warm cache.
        if before == .down { bringUp(index, now: now) } else { loads.set(index, state: .up) }
      } else {
        slowStart.end(index)
        loads.set(index, state: report.state)
      }
      membersChanged(&actions)
    }
    serveQueue(now: now, &actions)
  }

  // MARK: Time

  mutating func tick(now: UInt64, _ actions: inout [Action]) {
    for change in slowStart.advance(to: now) { loads.set(change.index, ramp: change.ramp) }
    expireQueue(now: now, &actions)
    serveQueue(now: now, &actions)
  }
}
