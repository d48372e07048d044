// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Logging
import Synchronization
import Telemetry
import Wire

/// The admin server seen from the main thread, which is not asynchronous: it waits for start and stop.
struct Admin: Sendable {
  private let server: AdminServer

  /// Nil when there shall be none.
  static func start(
    _ endpoint: Endpoint?, metrics: MetricsRegistry, pages: AdminPages, table: RoleTable, logger: Logger
  ) throws(StartupFailure) -> Admin? {
    guard let endpoint else { return nil }
    let result = try wait { () async -> Result<AdminServer, StartupFailure> in
      do throws(StartupFailure) {
        return .success(try await AdminServer(at: endpoint, metrics: metrics, pages: pages) { table.health() })
      } catch {
        return .failure(error)
      }
    }
    let server = try result.get()
    logger.info("admin server listens", metadata: ["url": "http://\(server.endpoint)"])
    return Admin(server: server)
  }

  func stop() {
    let server = self.server
    // Without a descriptor for waiting, the end of the process closes the listener.
    _ = try? Admin.wait { await server.stop() }
  }

  /// Runs a task and blocks this thread, which must not be one of the pool's, until it has ended.
  private static func wait<Value: Sendable>(
    _ body: @escaping @Sendable () async -> Value
  ) throws(StartupFailure) -> Value {
    let value = Mutex<Value?>(nil)
    do throws(SystemError) {
      let done = try WakeUp()
      var epoll = try Epoll(capacity: 1)
      try epoll.add(done.raw, .read, token: 0)
      Task {
        let result = await body()
        value.withLock { $0 = result }
        done.signal()
      }
      while true {
        if let result = value.withLock({ $0 }) { return result }
        _ = epoll.wait(until: nil)
      }
    } catch {
      throw StartupFailure("The admin server cannot be set up (\(error))", remedy: "Raise the limit of open files")
    }
  }
}
