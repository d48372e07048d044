// SPDX-License-Identifier: Apache-2.0

/// Names one handoff among all of one distributor worker. The worker gives its connection slot and that slot's
/// generation, so an answer that comes late never meets another connection.
public struct HandoffID: Hashable, Sendable, BitwiseCopyable {
  public var rawValue: UInt64

  @inlinable
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// The generation counts without its highest bit, which names of the kernel have set.
  @inlinable
  public init(slot: UInt32, generation: UInt32) {
    self.init(UInt64(generation & ~HandoffID.kernelBit) << 32 | UInt64(slot))
  }

  @usableFromInline static var kernelBit: UInt32 { 1 << 31 }

  /// Given by the distributor's program in the kernel, which handed the connection off by itself.
  @inlinable
  public var isByKernel: Bool { generation & HandoffID.kernelBit != 0 }

  @inlinable
  public func names(slot: UInt32, generation: UInt32) -> Bool {
    self == HandoffID(slot: slot, generation: generation)
  }

  @inlinable
  public var slot: UInt32 { UInt32(truncatingIfNeeded: rawValue) }
  @inlinable
  public var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }
}

/// Why a back-end did not take a handoff. The distributor tries another back-end, then answers 503.
public enum HandoffRefusal: UInt8, Error, Hashable, Sendable, CaseIterable {
  /// The node's web server does not accept connections.
  case serverUnreachable = 1
  /// The agent is at its connection or descriptor limit.
  case overloaded = 2
  /// The service address is not (yet) an address of the node.
  case addressNotServed = 3
  /// The 4-tuple is in use on the node and could not be freed.
  case tupleInUse = 4
  /// The kernel did not take the snapshot.
  case kernelRefused = 5
  /// The node is draining or stopping.
  case draining = 6
}
