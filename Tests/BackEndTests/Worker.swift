// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Synchronization

/// A thread whose error comes out at `join`.
final class Worker: Sendable {
  private let thread: WorkerThread
  private let failure: Failure

  private final class Failure: Sendable {
    let error = Mutex<(any Error)?>(nil)
  }

  init(_ body: @escaping @Sendable () throws -> Void) {
    let failure = Failure()
    self.failure = failure
    thread = WorkerThread(name: "test") {
      do { try body() } catch { failure.error.withLock { $0 = error } }
    }
  }

  func join() throws {
    thread.join()
    if let error = failure.error.withLock({ $0 }) { throw error }
  }
}

/// A value behind a lock.
final class Locked<Value: Sendable>: Sendable {
  private let storage: Mutex<Value>
  init(_ value: Value) { storage = Mutex(value) }
  var value: Value { storage.withLock { $0 } }
  func change(_ body: (inout sending Value) -> Void) { storage.withLock { body(&$0) } }
}
