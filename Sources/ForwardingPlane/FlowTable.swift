// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
public import Handoff
import LinuxKernel
import Synchronization
public import Wire

/// The kernel's table of handed-off flows: what to do with packets from their clients.
///
/// Any thread may call. Each call is one to three BPF system calls, a few microseconds, and allocates nothing. A flow is
/// inserted by the thread that answers for it (its NFQUEUE worker); the kernel itself removes an entry when a SYN of a new
/// connection comes.
public final class FlowTable: Sendable {
  /// Flows that the table can hold.
  public let capacity: Int
  let map: SharedDescriptor
  private let counters: CounterArray
  /// Entries that were there, plus inserted, less removed by this process since.
  private let balance: Atomic<Int>
  private let reusedBefore: UInt64

  init(map: SharedDescriptor, counters: CounterArray, capacity: Int) {
    self.map = map
    self.counters = counters
    self.capacity = capacity
    // Read before the entries are counted: a reuse in between is then missing in both or taken off once too often,
    // which the next start corrects.
    reusedBefore = FlowTable.removedByKernel(counters)
    balance = Atomic(0)
  }

  /// Takes a predecessor's flows into the table or, where they are in it already, into the book-keeping.
  func adopt(from predecessor: Predecessor, _ counters: CounterArray) -> ForwardingPlane.Adoption {
    switch predecessor {
    case .none: return .fresh
    case .unusable(let obstacle, _): return .replaced(obstacle)
    case .usable(let maps, let capacity, _):
      var (found, lost) = (0, 0)
      var sweep = FlowSweep(step: 4096)
      if capacity == self.capacity {
        repeat { found += sweep.next(of: self) { _, _ in } } while !sweep.isAtStart
        balance.add(found, ordering: .relaxed)
        return .maps(flows: found)
      }
      let old = FlowTable(map: maps.flows, counters: counters, capacity: capacity)
      repeat {
        sweep.next(of: old) { flow, entry in
          do { try insert(flow, entry) } catch { lost += 1 }
          found += 1
        }
      } while !sweep.isAtStart
      return .copied(flows: found - lost, lost: lost)
    }
  }

  /// Never less than `occupied`, and costs nothing: entries that the kernel itself has removed count.
  public var occupiedAtMost: Int { max(0, balance.load(ordering: .relaxed)) }

  /// Entries in the table now: kept by book-keeping, since counting them means walking the whole table. Two
  /// system calls.
  public var occupied: Int {
    let reused = FlowTable.removedByKernel(counters) &- reusedBefore
    return max(0, balance.load(ordering: .relaxed) - Int(truncatingIfNeeded: reused))
  }

  private static func removedByKernel(_ counters: CounterArray) -> UInt64 {
    counters.read(.synReused) &+ counters.read(.challengeConfirmed)
  }

  /// The program has entered a flow by itself.
  public func countEntry() { balance.add(1, ordering: .relaxed) }

  /// Enters a flow, or replaces its entry: from the next packet on, the kernel acts on it.
  ///
  /// - Throws: `.tableFull` or `.outOfKernelMemory` when there is no room, and nothing has changed then.
  public func insert(_ flow: FlowTuple, _ entry: FlowEntry) throws(ForwardingPlaneError) {
    var key = handoff_flow_key(flow)
    var value = handoff_flow_entry(entry)
    while true {
      switch unsafe bpf_map_update_elem(map.raw, &key, &value, UInt64(BPF_NOEXIST)) {
      case 0:
        balance.add(1, ordering: .relaxed)
        return
      case -EEXIST: break
      case let code: throw FlowTable.failure(code)
      }
      switch unsafe bpf_map_update_elem(map.raw, &key, &value, UInt64(BPF_EXIST)) {
      case 0: return
      case -ENOENT: continue  // A SYN has removed it between the two calls.
      case let code: throw FlowTable.failure(code)
      }
    }
  }

  private static func failure(_ code: Int32) -> ForwardingPlaneError {
    switch code {
    case -E2BIG: .tableFull
    case -ENOMEM: .outOfKernelMemory
    default: .system(SystemError("bpf_map_update_elem", "the flow table", errno: -code))
    }
  }

  /// Remembers that the connection of `handoff` is over: the next SYN on its tuple is taken as a new connection instead of
  /// being challenged. Of a flow whose client has closed the kernel takes it so anyway.
  public func markEnded(_ flow: FlowTuple, ifHandoff handoff: HandoffID) {
    // What the client has closed is taken so anyway, and needs no mark.
    mark(flow, ifHandoff: handoff, .ended, unless: [.fin, .rst, .ended])
  }

  /// Remembers that the client has closed or reset the connection of `handoff`, in a packet that did not pass the table.
  public func markClosing(_ flow: FlowTuple, ifHandoff handoff: HandoffID) {
    mark(flow, ifHandoff: handoff, .fin, unless: [.fin, .rst, .ended])
  }

  private func mark(
    _ flow: FlowTuple, ifHandoff handoff: HandoffID, _ seen: FlowEntry.Seen, unless known: FlowEntry.Seen
  ) {
    var key = handoff_flow_key(flow)
    var value = handoff_flow_entry()
    guard unsafe bpf_map_lookup_elem(map.raw, &key, &value) == 0, value.handoff_id == handoff.rawValue,
      FlowEntry.Seen(rawValue: value.flags).isDisjoint(with: known)
    else { return }
    value.flags |= seen.rawValue
    // Not there any more: the kernel has met the SYN already.
    _ = unsafe bpf_map_update_elem(map.raw, &key, &value, UInt64(BPF_EXIST))
  }

  public func lookup(_ flow: FlowTuple) -> FlowEntry? {
    var key = handoff_flow_key(flow)
    var value = handoff_flow_entry()
    return unsafe bpf_map_lookup_elem(map.raw, &key, &value) == 0 ? value.entry : nil
  }

  /// Takes back the entry of a handoff of which it is not known whether the back-end has it.
  ///
  /// - Returns: what the kernel has seen of the client since, nil when the entry is not there any more.
  public func withdraw(_ flow: FlowTuple, handoff: HandoffID) -> FlowEntry.Seen? {
    var seen: FlowEntry.Seen?
    _ = remove(handoff_flow_key(flow)) { entry in
      guard entry.handoff_id == handoff.rawValue else { return false }
      // Called again for what was removed, which is the latest.
      seen = FlowEntry.Seen(rawValue: entry.flags)
      return true
    }
    return seen
  }

  /// Removes the flow's entry if it still belongs to `handoff`: a later connection on the same tuple stays.
  ///
  /// - Returns: whether an entry was removed.
  @discardableResult
  public func remove(_ flow: FlowTuple, ifHandoff handoff: HandoffID) -> Bool {
    remove(handoff_flow_key(flow)) { $0.handoff_id == handoff.rawValue }
  }

  /// The kernel has no "compare and delete". If another thread replaces the entry between our look and the removal, the
  /// removal itself tells, and what was removed is put back, unless something newer is there by then.
  func remove(_ key: handoff_flow_key, if isMeant: (handoff_flow_entry) -> Bool) -> Bool {
    var key = key
    var value = handoff_flow_entry()
    guard unsafe bpf_map_lookup_elem(map.raw, &key, &value) == 0, isMeant(value),
      unsafe bpf_map_lookup_and_delete_elem(map.raw, &key, &value) == 0
    else { return false }
    if isMeant(value) {
      balance.subtract(1, ordering: .relaxed)
      return true
    }
    if unsafe bpf_map_update_elem(map.raw, &key, &value, UInt64(BPF_NOEXIST)) != 0 {
      balance.subtract(1, ordering: .relaxed)
    }
    return false
  }

  /// Removes every flow of a back-end that is gone; their later packets reach user space.
  ///
  /// Walks the whole table at once, up to 1 us for each flow in it and 2 us for each that goes. Where that is too long,
  /// take steps with `FlowSweep` and remove what belongs to the back-end.
  ///
  /// - Returns: how many flows were removed.
  @discardableResult
  public func removeAll(backEnd: UInt16) -> Int {
    var sweep = FlowSweep()
    var removed = 0
    repeat {
      sweep.nextRaw(of: self) { key, value in
        if value.back_end == backEnd, remove(key, if: { $0.back_end == backEnd }) { removed += 1 }
      }
    } while !sweep.isAtStart
    return removed
  }
}
