// SPDX-License-Identifier: Apache-2.0

public import ControlProtocol
public import Rules

/// Per-request placement on persistent connections (USENIX 1999, section 3).
extension DispatcherState {
  /// A share of a connection that a node bears while it serves part of a batch for another.
  public struct BatchCharge: Hashable, Sendable, BitwiseCopyable {
    public var backEnd: BackEndID
    /// 1/N of a connection in 1/65536.
    public var units: UInt32
  }

  /// Where a later request of a connection is served that `handling` has, and the charge to give back with `endBatch` when
  /// the batch of `batchSize` pipelined requests is over: none when the handling node serves it, for it already counts the
  /// connection. Policies other than extended LARD leave every later request where the connection is.
  public mutating func placeLater(
    target: UInt64, pool: PoolID = .every, handling: BackEndID, batchSize: UInt32 = 1, now: UInt64
  ) -> (backEnd: BackEndID, charge: BatchCharge?) {
    loads.advance(to: now)
    counters.laterRequests &+= 1
    let index = Int(handling.rawValue)
    guard case .extendedLARD(let extended) = policy, index < BackEndSet.capacity else {
      counters.assigned[Int(DecisionReason.local.rawValue)] &+= 1
      return (handling, nil)
    }
    let eligible = eligible(pool)
    let key = BackEndDirectory.key(target, pool)
    let slot = table.find(key)
    let request = Policy.Request(
      target: key, candidates: eligible.subtracting(loads.full), eligible: eligible,
      mapping: slot.isFound ? table.mapping(at: slot) : nil, tick: TargetTable.Tick.at(now))
    let choice = extended.chooseLater(request, handling: index, loads)
    remember(choice, key, slot)
    counters.assigned[Int(choice.reason.rawValue)] &+= 1
    let backEnd = BackEndID(UInt16(choice.index))
    if choice.index == index { return (backEnd, nil) }
    let charge = BatchCharge(backEnd: backEnd, units: 65_536 / max(1, batchSize))
    loads.charge(choice.index, units: charge.units)
    return (backEnd, charge)
  }

  /// The batch is over. A charge of a node that died meanwhile has died with it.
  public mutating func endBatch(_ charge: BatchCharge) {
    loads.release(Int(charge.backEnd.rawValue) % BackEndSet.capacity, units: charge.units)
  }
}
