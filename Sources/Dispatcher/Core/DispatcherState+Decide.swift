// SPDX-License-Identifier: Apache-2.0

internal import ControlProtocol
internal import Rules

extension DispatcherState {
  /// One request: an answer at once, or a place in the queue.
  @inline(__always)
  mutating func decideOrQueue(
    _ request: DecisionRequest, from peer: PeerID, now: UInt64, _ actions: inout [Action]
  ) {
    counters.requests &+= 1
    // Whoever waits already was served as far as there was room, so this one overtakes only requests of full pools.
    if let decision = decide(request, from: peer, now: now) {
      actions.append(.answer(peer, decision))
      spread(decision, of: request, from: peer, &actions)
      return
    }
    enqueue(request, from: peer, now: now, &actions)
  }

  /// nil when the cluster, or every node that may take the request, has no room now.
  @inline(__always)
  private mutating func decide(_ request: DecisionRequest, from peer: PeerID, now: UInt64) -> Decision? {
    let eligible = eligible(request.route.pool)
    var candidates = eligible
    if let excluded = request.excluded { candidates = candidates.subtracting(BackEndDirectory.set(excluded)) }
    if candidates.isEmpty {
      counters.noBackEnd &+= 1
      return Decision(id: request.id, outcome: .noBackEnd)
    }
    candidates = candidates.subtracting(loads.full)
    guard !candidates.isEmpty, loads.occupied < admissionLimit else { return nil }
    if let affinity = request.route.affinity {
      let index = decide(request, sticking: affinity, candidates: candidates, eligible: eligible, now: now)
      return Decision(id: request.id, outcome: .assigned(BackEndID(UInt16(truncatingIfNeeded: index))))
    }
    let choice = decideByPolicy(request, candidates: candidates, eligible: eligible, now: now)
    var decision = Decision(
      id: request.id, outcome: .assigned(BackEndID(UInt16(truncatingIfNeeded: choice.index))))
    if parameters.leases.isOn, request.excluded == nil { decision.lease = lease(choice, to: peer) }
    return decision
  }

  @inline(__always)
  private mutating func decideByPolicy(
    _ request: DecisionRequest, candidates: BackEndSet, eligible: BackEndSet, now: UInt64
  ) -> Policy.Choice {
    let key = BackEndDirectory.key(request.target, request.route.pool)
    let (choice, slot, policyRequest) = choose(key, candidates: candidates, eligible: eligible, now: now)
    if policy.usesTargetTable { remember(choice, key, slot) }
    policy.commit(choice, policyRequest, loads)
    loads.assign(choice.index)
    counters.assigned[Int(choice.reason.rawValue)] &+= 1
    return choice
  }

  /// A request that sticks. Neither the load nor the target moves it; only a node that cannot take it does, and then the
  /// tie moves with it unless the node is merely full or refused this one.
  private mutating func decide(
    _ request: DecisionRequest, sticking affinity: Affinity, candidates: BackEndSet, eligible: BackEndSet, now: UInt64
  ) -> Int {
    let tick = TargetTable.Tick.at(now)
    let tie = tie(of: affinity, candidates: candidates, eligible: eligible, tick: tick)
    let index: Int
    switch tie {
    case .holds(let bound):
      index = bound
      loads.assign(index)
      counters.assigned[Int(DecisionReason.sticky.rawValue)] &+= 1
    case .rests, .none:
      index = decideByPolicy(request, candidates: candidates, eligible: eligible, now: now).index
      if case .rests = tie { return index }
    }
    let lifetime = TargetTable.Tick.duration(UInt64(affinity.lifetime) * 1_000_000_000)
    affinities.set(affinity.key, index, tick: tick, lifetime: lifetime)
    return index
  }

  /// What the affinity table says about a request.
  enum Tie: Hashable {
    /// To this node, which can take the request.
    case holds(Int)
    /// To this node, which is up but full or excluded.
    case rests(Int)
    /// To nothing, or to a node that is down, draining, or in another pool now.
    case none
  }

  func tie(of affinity: Affinity, candidates: BackEndSet, eligible: BackEndSet, tick: UInt32) -> Tie {
    var found = affinities.find(affinity.key, tick: tick)
    if found == nil, affinity.seed != 0 { found = affinities.find(affinity.seed, tick: tick) }
    guard let found, eligible.contains(found) else { return .none }
    return candidates.contains(found) ? .holds(found) : .rests(found)
  }

  /// Asks the policy; changes nothing. `explain` uses it too.
  @inline(__always)
  func choose(
    _ key: UInt64, candidates: BackEndSet, eligible: BackEndSet, now: UInt64
  ) -> (Policy.Choice, TargetTable.Slot, Policy.Request) {
    var slot = TargetTable.Slot(index: 0, isFound: false)
    if policy.usesTargetTable { slot = table.find(key) }
    let request = Policy.Request(
      target: key, candidates: candidates, eligible: eligible, mapping: slot.isFound ? table.mapping(at: slot) : nil,
      tick: TargetTable.Tick.at(now))
    return (policy.choose(request, loads), slot, request)
  }

  /// Writes what the policy wants of the target table.
  @inline(__always)
  mutating func remember(_ choice: Policy.Choice, _ key: UInt64, _ slot: TargetTable.Slot) {
    if slot.isFound {
      table.touch(slot)
      if let mapping = choice.mapping { table.update(slot, mapping) }
    } else if let mapping = choice.mapping {
      table.insert(key, at: slot, mapping)
    }
  }

  /// Eligible nodes of a pool; an unknown pool has none.
  @inline(__always)
  func eligible(_ pool: PoolID) -> BackEndSet {
    if pool == .every { return loads.eligible }
    for index in pools.indices where pools[index].id == pool {
      return pools[index].members.intersection(loads.eligible)
    }
    return BackEndSet()
  }

  // MARK: Queue

  private mutating func enqueue(
    _ request: DecisionRequest, from peer: PeerID, now: UInt64, _ actions: inout [Action]
  ) {
    if queue.append(request, from: peer, deadline: now + parameters.queueDeadline) {
      counters.enqueued &+= 1
      return
    }
    counters.overloadedByFullQueue &+= 1
    actions.append(.answer(peer, Decision(id: request.id, outcome: .overloaded)))
  }

  /// How many waiting requests may be passed over because their own pool is full.
  private static var passOver: Int { 64 }

  /// Room may have come: decides for whoever waits, oldest first.
  mutating func serveQueue(now: UInt64, _ actions: inout [Action]) {
    guard !queue.isEmpty else { return }
    var passed = 0
    for offset in queue.offsets {
      guard let waiting = queue[offset] else { continue }
      if let decision = decide(waiting.request, from: waiting.peer, now: now) {
        actions.append(.answer(waiting.peer, decision))
        queue.remove(at: offset)
      } else {
        passed += 1
        if loads.occupied >= admissionLimit || passed > DispatcherState.passOver { break }
      }
    }
    queue.compact()
  }

  /// Answers those whose time is over.
  mutating func expireQueue(now: UInt64, _ actions: inout [Action]) {
    for offset in queue.offsets {
      guard let waiting = queue[offset] else { continue }
      if waiting.deadline > now { break }
      queue.remove(at: offset)
      counters.overloadedByDeadline &+= 1
      actions.append(.answer(waiting.peer, Decision(id: waiting.request.id, outcome: .overloaded)))
    }
    queue.compact()
  }

  /// Forgets the requests of a distributor that is gone.
  mutating func abandonQueue(of peer: PeerID) {
    for offset in queue.offsets where queue[offset]?.peer == peer {
      queue.remove(at: offset)
      counters.abandoned &+= 1
    }
    queue.compact()
  }
}

/// Helpers of decisions that need no state.
enum BackEndDirectory {
  /// The set of one back-end; empty for a number that no back-end can have.
  @inline(__always)
  static func set(_ id: BackEndID) -> BackEndSet {
    Int(id.rawValue) < BackEndSet.capacity ? BackEndSet(id) : BackEndSet()
  }

  /// A target has a mapping of its own in each pool.
  @inline(__always)
  static func key(_ target: UInt64, _ pool: PoolID) -> UInt64 {
    pool == .every ? target : HashRing.mix(target ^ (UInt64(pool.rawValue) &* 0x9e37_79b9_7f4a_7c15))
  }
}
