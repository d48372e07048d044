// SPDX-License-Identifier: Apache-2.0

internal import Wire

/// Packets of a client that wait for the end of its handoff: whole, in order of arrival, each behind its length in four
/// bytes.
struct HeldPackets: BitwiseCopyable {
  private var buffer = BufferPool.Handle.none
  private var used: Int = 0
  /// The end of the data that is held; where a reset of this client is exact.
  var end: SequenceNumber
  /// An exact reset is among them: when no back-end takes the connection there is nobody to answer.
  var reset = false
  /// A FIN or a reset is among them.
  var isClosing = false
  /// The client has acknowledged bytes that only a back-end can have sent.
  var answered = false

  init(end: SequenceNumber) { self.end = end }

  private static let prefix = 4

  /// False when the packet did not fit into `limit` bytes or into the pool's bound.
  mutating func append(_ packet: Span<UInt8>, to pool: inout BufferPool, limit: Int) -> Bool {
    let needed = used + HeldPackets.prefix + packet.count
    guard needed <= limit, pool.grow(&buffer, toHold: needed, keeping: used) else { return false }
    let count = UInt32(packet.count)
    let length: InlineArray<4, UInt8> = [
      UInt8(truncatingIfNeeded: count >> 24), UInt8(truncatingIfNeeded: count >> 16),
      UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count),
    ]
    pool.write(length.span, to: buffer, at: used)
    pool.write(packet, to: buffer, at: used + HeldPackets.prefix)
    used = needed
    return true
  }

  /// Emits every packet as `.deliver` and gives the memory back.
  mutating func deliver(to backEnd: UInt16, from pool: inout BufferPool, into actions: inout ActionList) {
    if used > 0 {
      let memory = pool.bytes(buffer)
      var offset = 0
      while offset < used {
        let start = offset + HeldPackets.prefix
        let count = Int(memory.span.readUInt32(at: offset))
        actions.append(.deliver(actions.store(memory.span.extracting(start..<start + count)), backEnd: backEnd))
        offset = start + count
      }
    }
    discard(from: &pool)
  }

  mutating func discard(from pool: inout BufferPool) {
    pool.release(&buffer)
    used = 0
  }
}
