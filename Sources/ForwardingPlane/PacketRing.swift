// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import CLinux
import Clibbpf
import Glibc
public import Handoff
import LinuxKernel

/// One worker's end of a BPF ring buffer (kernel/bpf/ringbuf.c): packets that the program copied, read in place. While
/// packets keep coming, reading them takes no system call.
///
/// For one thread.
@safe
public struct PacketRing: ~Copyable, @unchecked Sendable {
  private let map: OwnedDescriptor
  private let size: Int
  private let page: Int
  /// The consumer's position, in a page of its own, which we write.
  private let consumer: UnsafeMutablePointer<UInt>
  /// The producer's position, in a page of its own; behind it the data, mapped twice in a row, so that a record never
  /// wraps.
  private let producer: UnsafeMutableRawPointer

  // linux/bpf.h: BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ.
  private static let busy: UInt32 = 1 << 31
  private static let discarded: UInt32 = 1 << 30
  private static let headerLength = 8

  init(size: Int) throws(SystemError) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let raw = try LibBPF.call("bpf_map_create") {
      unsafe bpf_map_create(BPF_MAP_TYPE_RINGBUF, "handoff_packets", 0, 0, UInt32(size), nil)
    }
    let map = OwnedDescriptor(owning: raw)
    let consumer = try unsafe PacketRing.map(raw, page, PROT_READ | PROT_WRITE, at: 0)
    let producer: UnsafeMutableRawPointer
    do {
      unsafe producer = try PacketRing.map(raw, page + 2 * size, PROT_READ, at: page)
    } catch {
      unsafe munmap(consumer, page)
      throw error
    }
    self.map = map
    self.size = size
    self.page = page
    // SAFETY: the kernel lays the ring out like this (ringbuf_map_mmap_kern); the mappings live as long as `self`.
    unsafe self.consumer = consumer.assumingMemoryBound(to: UInt.self)
    unsafe self.producer = producer
  }

  private static func map(
    _ descriptor: Int32, _ length: Int, _ protection: Int32, at offset: Int
  ) throws(SystemError) -> UnsafeMutableRawPointer {
    let memory = unsafe mmap(nil, length, protection, MAP_SHARED, descriptor, offset)
    guard let memory = unsafe memory, unsafe memory != UnsafeMutableRawPointer(bitPattern: -1) else {
      throw SystemError("mmap", "a BPF ring buffer", errno: Glibc.errno)
    }
    return unsafe memory
  }

  deinit {
    unsafe munmap(consumer, page)
    unsafe munmap(producer, page + 2 * size)
  }

  /// Readable while packets wait.
  public var descriptor: Int32 { map.raw }

  /// Gives each packet that waits, from its IP header on, and gives its memory back to the kernel. With it comes what the
  /// program says of a connection that it handed off with this packet; nil for a packet that has to be dealt with.
  ///
  /// - Parameter limit: the most packets; more make the descriptor ready again.
  /// - Returns: how many there were.
  public mutating func receive<Context: ~Copyable>(
    into context: inout Context, limit: Int, _ body: (inout Context, Span<UInt8>, LeasedHandoff?) -> Void
  ) -> Int {
    var count = 0
    var position = unsafe consumer.pointee
    let data = unsafe producer + page
    while count < limit {
      // SAFETY: the first word of the producer's page is its position; the kernel releases it after the header.
      let end = unsafe clinux_load_acquire(producer.assumingMemoryBound(to: UInt.self))
      guard position < end else { break }
      let record = unsafe data + Int(position & UInt(size - 1))
      // SAFETY: the header's first word is written by the kernel with release when the record is complete.
      let header = unsafe clinux_load_acquire_32(record.assumingMemoryBound(to: UInt32.self))
      if header & PacketRing.busy != 0 { break }
      let length = Int(header & ~(PacketRing.busy | PacketRing.discarded))
      if header & PacketRing.discarded == 0 {
        // SAFETY: the program reserved `length` bytes and wrote the packet's length, which it had checked against them.
        let start = unsafe record + PacketRing.headerLength
        let about = unsafe start.loadUnaligned(as: handoff_ring_record.self)
        let room = length - MemoryLayout<handoff_ring_record>.size
        let bytes = unsafe UnsafeRawBufferPointer(
          start: start + MemoryLayout<handoff_ring_record>.size, count: min(Int(about.length), room))
        unsafe body(&context, bytes.bindMemory(to: UInt8.self).span, LeasedHandoff(about))
        count += 1
      }
      position += UInt((length + PacketRing.headerLength + 7) & ~7)
      // Given back one by one: under a flood the ring stays as empty as it can be.
      unsafe clinux_store_release(consumer, position)
    }
    return count
  }
}

extension LeasedHandoff {
  fileprivate init?(_ record: handoff_ring_record) {
    if record.handoff == 0 { return nil }
    self.init(
      id: HandoffID(record.handoff), backEnd: UInt16(truncatingIfNeeded: record.back_end), target: record.target,
      term: record.term, epoch: record.epoch)
  }
}
