// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import LinuxKernel
import Wire

/// Asks the node's web server once a second whether it accepts connections, at one address.
struct ServerCheck: ~Copyable {
  let server: Endpoint
  private let token: UInt64
  private var attempt: Int32 = -1
  private var deadline: UInt64 = 0
  private var next: UInt64 = 0
  /// Nil until the first answer.
  private(set) var isUp: Bool?
  /// Why it is down.
  private(set) var problem = ""

  private static let interval: UInt64 = 1_000_000_000
  private static let timeout: UInt64 = 1_000_000_000

  init(_ server: Endpoint, token: UInt64) {
    self.server = server
    self.token = token
  }

  deinit { if attempt >= 0 { StreamSocket.close(attempt) } }

  /// Asks at once at the next turn.
  mutating func hurry() { next = 0 }

  /// Starts and ends attempts. Returns when to call again.
  mutating func turn(_ epoll: borrowing Epoll, now: UInt64) -> UInt64 {
    if attempt >= 0 {
      if now < deadline { return deadline }
      end(up: false, "it did not answer within \(ServerCheck.timeout / 1_000_000) ms")
    }
    if now < next { return next }
    next = now + ServerCheck.interval
    do throws(SystemError) {
      let socket = try StreamSocket(familyOf: server.address)
      try socket.connect(to: server)
      let raw = socket.intoRaw()
      attempt = raw
      deadline = now + ServerCheck.timeout
      ready()
      if attempt >= 0 { try epoll.add(raw, [.write], token: token) }
    } catch {
      end(up: false, "\(error)")
    }
    return attempt >= 0 ? deadline : next
  }

  /// To be called when the attempt's socket is ready.
  mutating func ready() {
    guard attempt >= 0 else { return }
    do throws(SystemError) {
      if try TransparentSocket.progress(of: attempt) == .established { end(up: true, "") }
    } catch {
      end(up: false, "\(error)")
    }
  }

  private mutating func end(up: Bool, _ problem: String) {
    // A reset leaves no TIME_WAIT behind at either end.
    if attempt >= 0 { StreamSocket.closeWithReset(attempt) }
    attempt = -1
    isUp = up
    self.problem = problem
  }
}
