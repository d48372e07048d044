// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
import LinuxKernel
import Synchronization
public import Wire

/// How the program answers handshakes, and where packets for user space go.
public struct HandshakePlan: Hashable, Sendable {
  /// SYNs are answered and bare acknowledgments absorbed by the program.
  public var answersInKernel: Bool
  /// Packets for user space are copied into rings, one for each worker, instead of passed to netfilter.
  public var usesRings: Bool
  /// 1 to 64.
  public var workers: Int
  /// What a SYN-ACK announces.
  public var segmentSizeIPv4: UInt16
  public var segmentSizeIPv6: UInt16
  public var window: UInt16
  /// At most 14; only for clients that offer scaling.
  public var windowScale: UInt8
  /// Of the hashes of targets.
  public var targetKey: KeyedHash

  public init(
    answersInKernel: Bool, usesRings: Bool, workers: Int, segmentSizeIPv4: UInt16, segmentSizeIPv6: UInt16,
    window: UInt16, windowScale: UInt8, targetKey: KeyedHash
  ) {
    self.answersInKernel = answersInKernel
    self.usesRings = usesRings
    self.workers = workers
    self.segmentSizeIPv4 = segmentSizeIPv4
    self.segmentSizeIPv6 = segmentSizeIPv6
    self.window = window
    self.windowScale = windowScale
    self.targetKey = targetKey
  }
}

/// The secrets of the program's cookies, as they lie in its map.
public struct HandshakeSecrets: Hashable, Sendable, BitwiseCopyable {
  public struct CookieKey: Hashable, Sendable, BitwiseCopyable {
    /// The value of the clock shifted by 42 bits in which cookies are made with this key.
    public var period: UInt64
    public var outer: (UInt64, UInt64) {
      get { (outer0, outer1) }
      set { (outer0, outer1) = newValue }
    }
    private var outer0: UInt64
    private var outer1: UInt64
    public var tag: UInt64

    public init(period: UInt64, outer: (UInt64, UInt64), tag: UInt64) {
      self.period = period
      (outer0, outer1) = outer
      self.tag = tag
    }
  }

  /// The keys of even and of odd periods.
  public var even: CookieKey
  public var odd: CookieKey
  public var timestamp: (UInt64, UInt64) {
    get { (timestamp0, timestamp1) }
    set { (timestamp0, timestamp1) = newValue }
  }
  private var timestamp0: UInt64
  private var timestamp1: UInt64
  /// Spreads flows over workers.
  public var spread: UInt64

  public init(even: CookieKey, odd: CookieKey, timestamp: (UInt64, UInt64), spread: UInt64) {
    self.even = even
    self.odd = odd
    (timestamp0, timestamp1) = timestamp
    self.spread = spread
  }
}

/// The maps by which a distributor tells the program how to answer handshakes. They outlive the process with the program:
/// a successor goes on with the keys, so that clients in the middle of a handshake notice nothing.
///
/// Any thread may call; each call is one or two system calls.
public final class HandshakeTable: Sendable {
  public static var maximumWorkers: Int { Int(HANDOFF_MAX_WORKERS) }

  private let handshake: SharedDescriptor
  private let alive: SharedDescriptor
  private let rings: SharedDescriptor
  /// The record is read, changed and written as a whole.
  private let changing = Mutex(())

  init(handshake: SharedDescriptor, alive: SharedDescriptor, rings: SharedDescriptor) {
    self.handshake = handshake
    self.alive = alive
    self.rings = rings
  }

  private func record() -> handoff_handshake {
    var zero: UInt32 = 0
    var record = handoff_handshake()
    let result = unsafe bpf_map_lookup_elem(handshake.raw, &zero, &record)
    precondition(result == 0, "reading an existing array element failed with \(result)")
    return record
  }

  private func change(_ body: (inout handoff_handshake) -> Void) {
    changing.withLock { _ in
      var record = self.record()
      body(&record)
      var zero: UInt32 = 0
      let result = unsafe bpf_map_update_elem(handshake.raw, &zero, &record, 0)
      precondition(result == 0, "writing an existing array element failed with \(result)")
    }
  }

  /// The secrets; all zero while nobody has written any.
  public var secrets: HandshakeSecrets {
    get {
      let record = self.record()
      return HandshakeSecrets(
        even: HandshakeSecrets.CookieKey(record.keys.0), odd: HandshakeSecrets.CookieKey(record.keys.1),
        timestamp: (record.timestamp_key.0, record.timestamp_key.1), spread: record.spread_key)
    }
    set {
      change { record in
        record.keys = (handoff_cookie_key(newValue.even), handoff_cookie_key(newValue.odd))
        record.timestamp_key = (newValue.timestamp.0, newValue.timestamp.1)
        record.spread_key = newValue.spread
      }
    }
  }

  /// Puts a plan in force. The secrets are written before, and rings put in place.
  public func apply(_ plan: HandshakePlan) {
    precondition((1...Int(HANDOFF_MAX_WORKERS)).contains(plan.workers) && plan.windowScale <= 14)
    change { record in
      record.workers = UInt32(plan.workers)
      record.segment_size_ipv4 = plan.segmentSizeIPv4
      record.segment_size_ipv6 = plan.segmentSizeIPv6
      record.window = plan.window
      record.window_scale = plan.windowScale
      record.target_key = plan.targetKey.words
      record.flags =
        (plan.answersInKernel ? UInt32(HANDOFF_ANSWERS_SYN.rawValue) : 0)
        | (plan.usesRings ? UInt32(HANDOFF_USES_RING.rawValue) : 0)
    }
  }

  /// What SYN-ACKs announce from now on.
  public func announce(segmentSizeIPv4: UInt16, segmentSizeIPv6: UInt16) {
    change { record in
      (record.segment_size_ipv4, record.segment_size_ipv6) = (segmentSizeIPv4, segmentSizeIPv6)
    }
  }

  /// From now on SYNs of new connections are dropped.
  public func drain() { change { $0.flags |= UInt32(HANDOFF_DRAINING.rawValue) } }

  /// Tells the program that a worker lives and reads its ring.
  ///
  /// - Parameter time: nanoseconds of `MonotonicTime` until which that holds.
  public func keepAlive(worker: Int, until time: UInt64) {
    var index = UInt32(worker)
    var time = time
    let result = unsafe bpf_map_update_elem(alive.raw, &index, &time, 0)
    precondition(result == 0, "writing an existing array element failed with \(result)")
  }

  /// Makes a worker's ring and puts it in the place of a predecessor's, whose packets are lost: clients repeat them.
  ///
  /// - Parameter size: bytes, a power of two and at least a page.
  /// - Throws: `.mapsRefused`.
  public func openRing(worker: Int, size: Int) throws(ForwardingPlaneError) -> PacketRing {
    do {
      let ring = try PacketRing(size: size)
      var index = UInt32(worker)
      var descriptor = UInt32(ring.descriptor)
      let map = rings.raw
      _ = try LibBPF.call("bpf_map_update_elem") { unsafe bpf_map_update_elem(map, &index, &descriptor, 0) }
      return ring
    } catch {
      throw .mapsRefused(error.on("the packet ring of worker \(worker)"))
    }
  }
}

extension HandshakeSecrets.CookieKey {
  fileprivate init(_ key: handoff_cookie_key) {
    self.init(period: key.period, outer: (key.outer.0, key.outer.1), tag: key.tag)
  }
}

extension handoff_cookie_key {
  fileprivate init(_ key: HandshakeSecrets.CookieKey) {
    self.init(outer: (key.outer.0, key.outer.1), tag: key.tag, period: key.period)
  }
}
