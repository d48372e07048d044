// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Logging

/// Tells systemd (or who else set NOTIFY_SOCKET) what this process does: sd_notify(3).
struct ServiceManager: Sendable {
  private let path: String?
  private let logger: Logger

  init(path: String? = HostFacts.environment("NOTIFY_SOCKET"), logger: Logger) {
    self.path = path
    self.logger = logger
  }

  func ready(_ status: String) { send("READY=1\nSTATUS=\(line(status))") }

  func status(_ status: String) { send("STATUS=\(line(status))") }

  func stopping(_ status: String) { send("STOPPING=1\nSTATUS=\(line(status))") }

  /// Asks for more time while a start waits for something outside of this process.
  func stillStarting(_ status: String, seconds: Int) {
    send("EXTEND_TIMEOUT_USEC=\(seconds * 1_000_000)\nSTATUS=\(line(status))")
  }

  private func line(_ text: String) -> String { String(text.map { $0 == "\n" ? ";" : $0 }) }

  private func send(_ message: String) {
    guard let path, !path.isEmpty else { return }
    do {
      try NotificationSocket.send(message, to: path)
    } catch {
      logger.debug("the service manager was not reached", metadata: ["error": "\(error)"])
    }
  }
}
