// SPDX-License-Identifier: Apache-2.0

/// SipHash-2-4 (Aumasson, Bernstein 2012): a keyed hash that two nodes with the same key agree on. Swift's own `Hasher`
/// is seeded per process and must not decide placement.
public struct KeyedHash: Hashable, Sendable, BitwiseCopyable {
  @usableFromInline let k0: UInt64
  @usableFromInline let k1: UInt64

  @inlinable
  public init(_ k0: UInt64, _ k1: UInt64) {
    self.k0 = k0
    self.k1 = k1
  }

  /// The key, for a program in the kernel that makes the same hashes.
  public var words: (UInt64, UInt64) { (k0, k1) }

  @usableFromInline
  struct State: BitwiseCopyable {
    @usableFromInline var v0, v1, v2, v3: UInt64

    @inlinable
    init(_ k0: UInt64, _ k1: UInt64) {
      v0 = k0 ^ 0x736f_6d65_7073_6575
      v1 = k1 ^ 0x646f_7261_6e64_6f6d
      v2 = k0 ^ 0x6c79_6765_6e65_7261
      v3 = k1 ^ 0x7465_6462_7974_6573
    }

    @inlinable
    mutating func round() {
      v0 = v0 &+ v1
      v1 = v1 << 13 | v1 >> 51
      v1 ^= v0
      v0 = v0 << 32 | v0 >> 32
      v2 = v2 &+ v3
      v3 = v3 << 16 | v3 >> 48
      v3 ^= v2
      v0 = v0 &+ v3
      v3 = v3 << 21 | v3 >> 43
      v3 ^= v0
      v2 = v2 &+ v1
      v1 = v1 << 17 | v1 >> 47
      v1 ^= v2
      v2 = v2 << 32 | v2 >> 32
    }

    @inlinable
    mutating func absorb(_ word: UInt64) {
      v3 ^= word
      round()
      round()
      v0 ^= word
    }

    @inlinable
    mutating func finish() -> UInt64 {
      v2 ^= 0xff
      round()
      round()
      round()
      round()
      return v0 ^ v1 ^ v2 ^ v3
    }
  }

  /// The 64-bit hash of `bytes`.
  @inlinable
  public func hash(_ bytes: Span<UInt8>) -> UInt64 {
    var state = State(k0, k1)
    let count = bytes.count
    var offset = 0
    while offset + 8 <= count {
      state.absorb(bytes.readUInt64(at: offset).byteSwapped)
      offset += 8
    }
    var last = UInt64(truncatingIfNeeded: count) << 56
    var shift: UInt64 = 0
    while offset < count {
      last |= UInt64(bytes[offset]) << shift
      shift += 8
      offset += 1
    }
    state.absorb(last)
    return state.finish()
  }

  /// The hash of the eight bytes of `word`, the lowest first.
  @inlinable
  public func hash(_ word: UInt64) -> UInt64 {
    var state = State(k0, k1)
    state.absorb(word)
    state.absorb(8 << 56)
    return state.finish()
  }

  /// The hash of the bytes of `words`, the lowest of each first.
  @inlinable
  public func hash(_ words: Span<UInt64>) -> UInt64 {
    var state = State(k0, k1)
    for index in words.indices { state.absorb(words[index]) }
    state.absorb(UInt64(truncatingIfNeeded: words.count &* 8) << 56)
    return state.finish()
  }

  /// The hash of a connection's 4-tuple, plus `salt`; the same as hashing five little-endian 64-bit words.
  @inlinable
  public func hash(_ flow: FlowTuple, salt: UInt32 = 0) -> UInt64 {
    var state = State(k0, k1)
    state.absorb(flow.client.address.high)
    state.absorb(flow.client.address.low)
    state.absorb(flow.service.address.high)
    state.absorb(flow.service.address.low)
    state.absorb(UInt64(flow.client.port) | UInt64(flow.service.port) << 16 | UInt64(salt) << 32)
    state.absorb(40 << 56)
    return state.finish()
  }
}
