// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import CLinux
import Glibc
public import Handoff
import LinuxKernel

/// What the program needs to hand connections off by itself: each worker's lender fills its part
/// (`docs/design/leased-handoff.md`).
@safe
public final class LeasePlane: @unchecked Sendable {
  let maps: LeaseMaps
  private let records: UnsafeMutablePointer<lease_worker>
  private let length: Int

  /// Numbers of back-ends are below this.
  public static var maximumBackEnds: Int { Int(LEASE_MAX_BACK_ENDS) }

  init(_ maps: LeaseMaps) throws(ForwardingPlaneError) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    length = (MemoryLayout<lease_worker>.stride * Int(HANDOFF_MAX_WORKERS) + page - 1) / page * page
    // SAFETY: an array with BPF_F_MMAPABLE, whose elements lie one behind the other from the first page on
    // (array_map_mmap); the mapping lives as long as `self`.
    let memory = unsafe mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, maps.workers.raw, 0)
    guard let memory = unsafe memory, unsafe memory != UnsafeMutableRawPointer(bitPattern: -1) else {
      throw .mapsRefused(SystemError("mmap", "the workers' leases", errno: Glibc.errno))
    }
    self.maps = maps
    unsafe records = memory.bindMemory(to: lease_worker.self, capacity: Int(HANDOFF_MAX_WORKERS))
  }

  deinit { unsafe munmap(records, length) }

  /// A worker's part.
  ///
  /// - Parameters:
  ///   - worker: 0 to 63, whose ring gets the connections that are handed off.
  ///   - origin: names it in handoffs by packet, not 0.
  public func lender(worker: Int, origin: UInt64) -> LeaseLender {
    precondition((0..<Int(HANDOFF_MAX_WORKERS)).contains(worker) && origin != 0)
    // SAFETY: the index is within the array, and the lender keeps `self`.
    return unsafe LeaseLender(self, worker: UInt32(worker), origin: origin, records: records)
  }
}

/// How a worker's handoffs by packet get to one back-end.
public struct LeaseNode: Hashable, Sendable {
  public var offer: PacketHandoffOffer
  /// Not `.deliverLocally`.
  public var reach: FlowEntry.Action
  /// The way of the datagrams: for neighbours the interface on which clients' packets arrive.
  public var tunnel: Tunnel

  public init(offer: PacketHandoffOffer, reach: FlowEntry.Action, tunnel: Tunnel) {
    self.offer = offer
    self.reach = reach
    self.tunnel = tunnel
  }
}
