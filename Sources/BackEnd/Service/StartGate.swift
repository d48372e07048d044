// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Synchronization
import Telemetry

/// Lets the starter of a thread wait until the thread has what it needs, or has failed. What a loop owns is made on its own
/// thread and never leaves it.
final class StartGate: Sendable {
  private let result = Mutex<Result<Void, StartupFailure>?>(nil)
  private let wakeUp: WakeUp

  init() throws(SystemError) { wakeUp = try WakeUp() }

  func succeed() { open(.success(())) }
  func fail(_ failure: StartupFailure) { open(.failure(failure)) }

  private func open(_ value: Result<Void, StartupFailure>) {
    result.withLock { $0 = value }
    wakeUp.signal()
  }

  /// Waits for the thread's word.
  func wait() throws(StartupFailure) {
    do throws(SystemError) {
      var epoll = try Epoll(capacity: 1)
      try epoll.add(wakeUp.raw, .read, token: 0)
      while result.withLock({ $0 == nil }) { _ = epoll.wait(until: nil) }
    } catch {
      throw .resources(error)
    }
    if let result = result.withLock({ $0 }) { try result.get() }
  }
}

extension StartupFailure {
  /// The process has no descriptors or memory left for the agent.
  static func resources(_ error: SystemError) -> StartupFailure {
    StartupFailure("The back-end agent cannot start: \(error)", remedy: "Raise the descriptor limit (LimitNOFILE)")
  }
}
