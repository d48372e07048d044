// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Carries a value that cannot be copied into a thread's closure: put in once, taken out once.
public final class Handover<Value: ~Copyable>: @unchecked Sendable {
  // SAFETY: `value` is only touched under `lock`.
  private let lock = Mutex(())
  private var value: Value?

  public init(_ value: consuming Value) { self.value = consume value }

  /// Traps when the value was taken before: two owners would be a bug of this process.
  public func take() -> Value {
    lock.withLock { _ in
      guard let taken = value.take() else { preconditionFailure("the value was taken before") }
      return taken
    }
  }
}
