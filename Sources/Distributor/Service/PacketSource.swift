// SPDX-License-Identifier: Apache-2.0

import ForwardingPlane
import Handoff
import LinuxKernel
import Wire

/// Where a worker's packets come from: a ring that the program at tc fills, or, where that cannot be had, an NFQUEUE.
struct PacketSource: ~Copyable {
  // One of the two; an enum's payload that cannot be copied cannot be mutated in place.
  private var ring: PacketRing?
  private var queue: NetfilterQueue?

  /// Readable while packets wait.
  let descriptor: Int32
  /// What can be asked of the checksums of these packets: the ring shows them as they are before offloads have completed
  /// them, NFQUEUE afterwards.
  let checksums: ChecksumRule

  init(_ ring: consuming PacketRing) {
    descriptor = ring.descriptor
    checksums = .rightOrOpen
    self.ring = consume ring
    queue = nil
  }

  init(_ queue: consuming NetfilterQueue) {
    descriptor = queue.descriptor
    checksums = .right
    ring = nil
    self.queue = consume queue
  }

  /// Gives a batch of packets, each from its IP header on, with what the kernel says of a connection that it handed off
  /// with it.
  ///
  /// - Returns: whether more may wait.
  mutating func receive<Context: ~Copyable>(
    into context: inout Context, _ body: (inout Context, Span<UInt8>, LeasedHandoff?) -> Void
  ) throws(SystemError) -> Bool {
    if ring != nil {
      return ring!.receive(into: &context, limit: PacketSource.ringBatch, body) == PacketSource.ringBatch
    }
    return try queue!.receive(into: &context) { context, packet in body(&context, packet, nil) } == NetfilterQueue.batch
  }

  /// Packets of a ring that are taken before answers go out.
  private static let ringBatch = 64
}
