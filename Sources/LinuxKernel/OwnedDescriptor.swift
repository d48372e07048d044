// SPDX-License-Identifier: Apache-2.0

public import Glibc

/// A file descriptor with one owner; closed when the owner goes.
@frozen
public struct OwnedDescriptor: ~Copyable, Sendable {
  /// For system calls while the owner lives; never to be closed by the borrower.
  public let raw: Int32

  @inlinable
  public init(owning raw: Int32) { self.raw = raw }

  @inlinable
  deinit { _ = Glibc.close(raw) }

  /// Gives the descriptor away: the caller must close it.
  @inlinable
  public consuming func release() -> Int32 {
    let raw = self.raw
    discard self
    return raw
  }
}
