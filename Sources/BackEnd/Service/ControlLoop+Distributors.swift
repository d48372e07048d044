// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Logging
import Wire

/// Control connections that distributors open.
extension ControlLoop {
  /// Gives each new control connection to the loop whose turn it is: there are few and they live long, so a hash over
  /// listeners would leave loops idle.
  mutating func acceptDistributors(_ now: UInt64) {
    do throws(SystemError) {
      while let accepted = try listener.accept() {
        tunnels.distributorConnected(from: accepted.peer.address)
        shared.mailboxes[adopted % shared.mailboxes.count].adopt(accepted.take())
        adopted += 1
      }
    } catch {
      // At the descriptor limit the listener stays readable: look away for a while.
      shown.controlConnectionsRefused += 1
      logger.error("a distributor's control connection cannot be accepted: \(error). Raise LimitNOFILE")
      acceptResumes = now + ControlLoop.second
      try? epoll.modify(listener.raw, [], token: Token.listener.rawValue)
    }
  }

  mutating func resumeAccepting(_ now: UInt64) -> UInt64 {
    guard let time = acceptResumes else { return .max }
    if now < time { return time }
    acceptResumes = nil
    try? epoll.modify(listener.raw, .read, token: Token.listener.rawValue)
    return .max
  }
}
