// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import Handoff
import LinuxKernel
import Wire

/// One handoff in the table of its event loop. Owns the two descriptors of a relay.
struct RelaySlot: BitwiseCopyable {
  enum Phase: BitwiseCopyable {
    case free
    /// The web server has not completed the handshake; the client's connection does not exist yet.
    case connecting(deadline: UInt64, started: UInt64)
    case relaying
    /// The web server's listener was given the connection and has not taken it yet. `next` is when to look again.
    case installing(attempt: UInt8, next: UInt64, started: UInt64)
    /// The web server has the connection itself.
    case direct
  }

  /// Grows with each use, so that an event for a former user of the slot is known as such.
  var generation: UInt32 = 0
  var phase = Phase.free
  var client: Int32 = -1
  var server: Int32 = -1
  var state = RelayState()
  /// Places in the loop's pool of the bytes held for each direction, -1 when none.
  var heldFromClient: Int32 = -1
  var heldFromServer: Int32 = -1
  var id = HandoffID(0)
  /// `HandoffOrigin` of the worker that handed it over, 0 for a predecessor's connection.
  var worker: UInt64 = 0
  /// Not 0: the handoff came by packet from this worker of a distributor (`HandoffOrigin`).
  var origin: UInt64 = 0
  var peer = PeerReference(index: 0, generation: 0)
  var flow = FlowTuple(client: Endpoint(IPAddress(ipv4: 0), 0), service: Endpoint(IPAddress(ipv4: 0), 0))
  /// Direct: a segment was sent whose fate was not known when the next was.
  var mayStand = false
  /// When bytes last moved, in nanoseconds.
  var lastActivity: UInt64 = 0

  func descriptor(_ side: Side) -> Int32 { side == .client ? client : server }

  subscript(held side: Side) -> Int32 {
    get { side == .client ? heldFromClient : heldFromServer }
    set { if side == .client { heldFromClient = newValue } else { heldFromServer = newValue } }
  }
}

/// A handoff by packet among all of them.
struct PacketHandoffName: Hashable, BitwiseCopyable {
  var origin: UInt64
  var id: HandoffID
}

/// A control connection in the table of its event loop.
struct PeerReference: Hashable, BitwiseCopyable {
  var index: UInt32
  var generation: UInt32
}

/// What an epoll token of an event loop names: kind in the upper 8 bits, 24 bits of generation, index.
struct LoopToken: Hashable, BitwiseCopyable {
  enum Kind: UInt8 { case client = 0, server = 1, peer = 2, mailbox = 3, events = 4, direct = 5 }

  var rawValue: UInt64

  init(rawValue: UInt64) { self.rawValue = rawValue }

  init(_ kind: Kind, index: UInt32, generation: UInt32) {
    rawValue = UInt64(kind.rawValue) << 56 | UInt64(generation & 0xff_ffff) << 32 | UInt64(index)
  }

  var kind: Kind { Kind(rawValue: UInt8(truncatingIfNeeded: rawValue >> 56)) ?? .mailbox }
  var index: Int { Int(UInt32(truncatingIfNeeded: rawValue)) }
  func isOf(generation: UInt32) -> Bool {
    UInt32(truncatingIfNeeded: rawValue >> 32) & 0xff_ffff == generation & 0xff_ffff
  }
}

/// Bytes that sinks did not take, in blocks that are used again.
struct HeldBytes {
  private var blocks: [[UInt8]] = []
  private var starts: [Int] = []
  private var free: [Int32] = []
  /// Bytes held in all.
  private(set) var total = 0

  /// Blocks larger than this are given back to the allocator.
  private static let keptCapacity = 64 << 10
  private static let keptBlocks = 64

  /// Keeps a copy of a part of `bytes` and returns its place.
  mutating func hold(_ bytes: [UInt8], _ range: Range<Int>) -> Int32 {
    let place: Int32
    if let last = free.popLast() {
      place = last
    } else {
      place = Int32(blocks.count)
      blocks.append([])
      starts.append(0)
    }
    blocks[Int(place)].append(contentsOf: bytes[range])
    starts[Int(place)] = 0
    total += range.count
    return place
  }

  /// Writes what is held at a place to a socket and returns how many bytes it took.
  mutating func write(_ place: Int32, to sink: Int32) throws(SystemError) -> Int {
    let index = Int(place)
    let start = starts[index]
    let block = blocks[index]
    let taken = try StreamSocket.write(sink, block.span.extracting(start..<block.count))
    starts[index] = start + taken
    total -= taken
    return taken
  }

  mutating func release(_ place: Int32) {
    let index = Int(place)
    total -= blocks[index].count - starts[index]
    let keeps = blocks[index].capacity <= HeldBytes.keptCapacity && free.count < HeldBytes.keptBlocks
    if keeps { blocks[index].removeAll(keepingCapacity: true) } else { blocks[index] = [] }
    starts[index] = 0
    free.append(place)
  }
}
