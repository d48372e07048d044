// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import CLinux
import Clibbpf
import Glibc
import LinuxKernel
public import Wire

/// What the kernel told of one connection.
public struct ConnectionEvent: Hashable, Sendable, BitwiseCopyable {
  public enum Kind: Hashable, Sendable, BitwiseCopyable {
    /// `flow` is nil for a connection that the agent itself installed.
    case established(FlowTuple?)
    /// - lastState: the TCP state that it ended in, as in tcp_states.h.
    /// - error: errno that cut it, 0 when it was closed.
    /// - duration: nanoseconds since it was established here.
    case ended(lastState: UInt8, error: Int32, bytesFromClient: UInt64, bytesToClient: UInt64, duration: UInt64)
    /// A handoff by packet that made no connection, and will not.
    case declined(PendingResult)
  }

  /// What the connection was installed with; of a handoff by packet its `HandoffID`.
  public var token: UInt64
  /// Of a handoff by packet the distributor's worker, else 0.
  public var origin: UInt64
  public var kind: Kind
}

/// The events of one event loop's connections, in memory shared with the kernel: reading needs no system call. Owned by the
/// loop's thread.
@safe
public final class EventRing {
  private let descriptor: SharedDescriptor
  private let consumer: UnsafeMutableRawPointer
  private let producer: UnsafeMutableRawPointer
  private let watching: UnsafeMutableRawPointer
  private let loop: Int
  private let page: Int
  private var position: UInt64 = 0

  private static let bytes = Int(SERVE_RING_BYTES)

  init(_ descriptor: SharedDescriptor, watching map: SharedDescriptor, loop: Int) throws(SystemError) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    // Kernel documentation bpf/ringbuf: one page for us to write, then the kernel's page and the data, twice in a row.
    let consumer = unsafe mmap(nil, page, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.raw, 0)
    guard unsafe consumer != MAP_FAILED, let consumer = unsafe consumer else {
      throw SystemError("mmap", "a BPF ring buffer", errno: Glibc.errno)
    }
    let producer = unsafe mmap(nil, page + 2 * EventRing.bytes, PROT_READ, MAP_SHARED, descriptor.raw, off_t(page))
    guard unsafe producer != MAP_FAILED, let producer = unsafe producer else {
      let code = Glibc.errno
      unsafe munmap(consumer, page)
      throw SystemError("mmap", "a BPF ring buffer", errno: code)
    }
    let watching = unsafe mmap(nil, page, PROT_READ | PROT_WRITE, MAP_SHARED, map.raw, 0)
    guard unsafe watching != MAP_FAILED, let watching = unsafe watching else {
      let code = Glibc.errno
      unsafe munmap(consumer, page)
      unsafe munmap(producer, page + 2 * EventRing.bytes)
      throw SystemError("mmap", "a BPF array", errno: code)
    }
    self.descriptor = descriptor
    self.loop = loop
    unsafe self.watching = watching
    unsafe self.consumer = consumer
    unsafe self.producer = producer
    self.page = page
  }

  deinit {
    unsafe munmap(consumer, page)
    unsafe munmap(producer, page + 2 * EventRing.bytes)
    unsafe munmap(watching, page)
  }

  /// Spares the kernel waking this loop until `time`, but for several events together: the loop looks by itself soon after.
  /// An event that comes at that very moment may wait for the loop's next turn.
  public func promiseToLook(until time: UInt64) { set(\.watching, time) }

  /// Lets the kernel take handoffs by packet for this loop until `time`.
  public func promiseToLive(until time: UInt64) { set(\.alive, time) }

  /// The kernel counts from here how many events are told; to be called before they are read.
  public func beginLook() { set(\.told, 0) }

  private func set(_ field: PartialKeyPath<serve_attention>, _ value: UInt64) {
    let offset = MemoryLayout<serve_attention>.offset(of: field) ?? 0
    // SAFETY: the map has a record for each loop, and the mapping lives as long as this object.
    unsafe event_ring_watch(watching + MemoryLayout<serve_attention>.stride * loop + offset, value)
  }

  /// For epoll: readable when an end was told since all was read.
  public var raw: Int32 { descriptor.raw }

  /// The next event, nil when there is none: then the descriptor becomes readable with the next end.
  public func next() -> ConnectionEvent? {
    var length: UInt32 = 0
    // SAFETY: both mappings live as long as this object; the data lies one page behind the producer's position, and the
    // kernel maps it twice in a row, so a record that wraps is whole.
    while let record = unsafe event_ring_next(
      producer, producer + page, UInt64(EventRing.bytes), &position, &length)
    {
      let isWhole = length >= UInt32(MemoryLayout<serve_event>.size)
      let event = isWhole ? unsafe record.loadUnaligned(as: serve_event.self) : serve_event()
      // At once: the kernel wakes a reader only for a record that it has read everything before.
      unsafe event_ring_release(consumer, position)
      switch event.kind {
      case SERVE_ESTABLISHED.rawValue:
        return ConnectionEvent(
          token: event.token, origin: event.origin,
          kind: .established(event.origin == 0 ? nil : FlowTuple(event.key)))
      case SERVE_DECLINED.rawValue:
        return ConnectionEvent(
          token: event.token, origin: event.origin,
          kind: .declined(PendingResult(UInt32(event.last_state), error: 0)))
      case SERVE_ENDED.rawValue:
        return ConnectionEvent(
          token: event.token, origin: event.origin,
          kind: .ended(
            lastState: UInt8(truncatingIfNeeded: event.last_state), error: Int32(event.error),
            bytesFromClient: event.bytes_from_client, bytesToClient: event.bytes_to_client, duration: event.duration))
      default: continue
      }
    }
    return nil
  }
}
