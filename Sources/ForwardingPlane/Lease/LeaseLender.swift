// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import CLinux
import Clibbpf
import Handoff
public import Wire

/// One worker's hand in the program's handoffs: targets whose back-end it may repeat, ways to back-ends, and credits. The
/// program takes a credit for each connection and tells of it in the worker's ring. Targets are common to all workers.
///
/// For one thread. Credits move without a system call, the rest takes one each.
@safe
public struct LeaseLender: ~Copyable, @unchecked Sendable {
  private let plane: LeasePlane
  private let worker: UInt32
  /// Written by the program at the same time.
  private let record: UnsafeMutablePointer<lease_worker>
  /// The first worker's record, which has the epoch of all targets.
  private let common: UnsafeMutablePointer<lease_worker>
  /// How often this worker has forgotten what it knew.
  public private(set) var epoch: UInt32 = 0

  /// Purses lie behind the five words of the record.
  private static let firstPurse = 5
  private static let originWord = 0
  private static let looksWord = 2
  private static let epochWord = 3
  private static let targetsWord = 4

  init(_ plane: LeasePlane, worker: UInt32, origin: UInt64, records: UnsafeMutablePointer<lease_worker>) {
    self.plane = plane
    self.worker = worker
    unsafe record = records + Int(worker)
    unsafe common = records
    precondition(MemoryLayout<lease_worker>.offset(of: \.purses) == LeaseLender.firstPurse * 8)
    store(UInt(truncatingIfNeeded: origin), at: LeaseLender.originWord)
  }

  deinit { close() }

  /// The program hands nothing off for this worker from now on.
  public func close() {
    store(0, at: LeaseLender.originWord)
    for backEnd in 0..<UInt16(LEASE_MAX_BACK_ENDS) { _ = reclaim(backEnd) }
  }

  // SAFETY (of these three): the record is made of 64-bit words, aligned as such, and the numbers are checked; each access is
  // atomic, as the program's are.
  private func word(_ number: Int) -> UnsafeMutablePointer<UInt> {
    precondition((0..<MemoryLayout<lease_worker>.size / 8).contains(number))
    return unsafe UnsafeMutableRawPointer(record).assumingMemoryBound(to: UInt.self) + number
  }

  private var targetsEpoch: UnsafeMutablePointer<UInt> {
    unsafe UnsafeMutableRawPointer(common).assumingMemoryBound(to: UInt.self) + LeaseLender.targetsWord
  }

  private func load(_ number: Int) -> UInt { unsafe clinux_load_acquire(word(number)) }

  private func store(_ value: UInt, at number: Int) { unsafe clinux_store_release(word(number), value) }

  private func purse(_ backEnd: UInt16) -> Int { LeaseLender.firstPurse + 2 * Int(backEnd) }

  /// Gives the program credits of a back-end. Those of another term have been reclaimed before.
  ///
  /// - Parameter time: nanoseconds of `MonotonicTime` until which all that is there may be used.
  public func lend(_ credits: UInt32, of backEnd: UInt16, term: UInt32, until time: UInt64) {
    store(UInt(time), at: purse(backEnd) + 1)
    let place = unsafe word(purse(backEnd))
    while true {
      let old = unsafe clinux_load_acquire(place)
      let left = UInt32(truncatingIfNeeded: old >> 32) == term ? old & 0xffff_ffff : 0
      let new = UInt(term) << 32 | min(left + UInt(credits), 0xffff_ffff)
      if unsafe clinux_replace_if(place, old, new) != 0 { return }
    }
  }

  /// Takes back what is left of a back-end's credits.
  public func reclaim(_ backEnd: UInt16) -> UInt32 {
    let place = unsafe word(purse(backEnd))
    while true {
      let old = unsafe clinux_load_acquire(place)
      if old & 0xffff_ffff == 0 { return 0 }
      if unsafe clinux_replace_if(place, old, old & ~0xffff_ffff) != 0 { return UInt32(truncatingIfNeeded: old) }
    }
  }

  /// The worker looks into its ring by then, and is not woken for handoffs meanwhile.
  public func promiseToLook(until time: UInt64) { store(UInt(time), at: LeaseLender.looksWord) }

  /// Nanoseconds between two looks of a worker that finds something.
  public static var lookInterval: UInt64 { UInt64(LEASE_TOLD_WITHIN) }

  private func key(_ target: UInt64) -> lease_target_key {
    lease_target_key(target: target, epoch: UInt64(unsafe clinux_load_acquire(targetsEpoch)))
  }

  /// Where requests for a target go, to whichever worker they come, until a time in nanoseconds of `MonotonicTime`. Without room
  /// for it in the kernel the worker is asked.
  public func setTarget(_ target: UInt64, backEnd: UInt16, until time: UInt64) {
    var key = key(target)
    var value = lease_target(expires: time, back_end: UInt32(backEnd), zero: 0)
    _ = unsafe bpf_map_update_elem(plane.maps.targets.raw, &key, &value, 0)
  }

  public func forgetTarget(_ target: UInt64) {
    var key = key(target)
    _ = unsafe bpf_map_delete_elem(plane.maps.targets.raw, &key)
  }

  /// Forgets all targets, those of other workers as well.
  public mutating func forgetTargets() {
    epoch &+= 1
    store(UInt(epoch), at: LeaseLender.epochWord)
    while true {
      let old = unsafe clinux_load_acquire(targetsEpoch)
      if unsafe clinux_replace_if(targetsEpoch, old, old &+ 1) != 0 { return }
    }
  }

  /// Sets or removes the way to a back-end.
  ///
  /// - Returns: whether the program knows the way now.
  @discardableResult
  public func setNode(_ backEnd: UInt16, _ node: LeaseNode?) -> Bool {
    var key = lease_node_key(worker: worker, back_end: UInt32(backEnd))
    guard let node, var value = lease_node(node) else {
      _ = unsafe bpf_map_delete_elem(plane.maps.nodes.raw, &key)
      return false
    }
    return unsafe bpf_map_update_elem(plane.maps.nodes.raw, &key, &value, 0) == 0
  }

  /// The worker has the connection, whose first request may come again from its client.
  public func claim(_ flow: FlowTuple, clientInitial: SequenceNumber) {
    var key = handoff_flow_key(flow)
    var value = clientInitial.rawValue
    _ = unsafe bpf_map_update_elem(plane.maps.claims.raw, &key, &value, 0)
  }
}

extension lease_node {
  fileprivate init?(_ node: LeaseNode) {
    self.init()
    switch node.reach {
    case .deliverLocally: return nil
    case .forward(let address):
      action = UInt8(truncatingIfNeeded: HANDOFF_FORWARD_MAC.rawValue)
      mac = (address[0], address[1], address[2], address[3], address[4], address[5])
    case .tunnel(let number):
      action = UInt8(truncatingIfNeeded: HANDOFF_FORWARD_TUNNEL.rawValue)
      tunnel = number
    }
    self.node = handoff_address(node.tunnel.node)
    source = handoff_address(node.tunnel.source)
    interface = node.tunnel.interface
    mtu = UInt32(clamping: node.tunnel.mtu)
    key = (node.offer.key.first, node.offer.key.second)
    port = node.offer.port.bigEndian
    loop = node.offer.loop
    families =
      (node.offer.takesIPv4 ? UInt8(truncatingIfNeeded: LEASE_IPV4.rawValue) : 0)
      | (node.offer.takesIPv6 ? UInt8(truncatingIfNeeded: LEASE_IPV6.rawValue) : 0)
  }
}
