// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Logging

/// The web server, as the control thread looks at it.
extension ControlLoop {
  /// One answering family is enough: a server that does not listen on ::1 still serves all IPv4 clients.
  var serverAnswers: Bool {
    (servesIPv4 && checkIPv4.isUp == true && mayServe(isIPv4: true))
      || (servesIPv6 && checkIPv6.isUp == true && mayServe(isIPv4: false))
      || (!servesIPv4 && !servesIPv6 && checkIPv4.isUp == true)
  }

  mutating func checkServers(_ now: UInt64) -> UInt64 {
    let (upIPv4, upIPv6) = (checkIPv4.isUp, checkIPv6.isUp)
    var next = UInt64.max
    // Without any served address yet IPv4 stands for both.
    if servesIPv4 || !servesIPv6 { next = min(next, checkIPv4.turn(epoll, now: now)) }
    if servesIPv6 { next = min(next, checkIPv6.turn(epoll, now: now)) }
    if checkIPv4.isUp != upIPv4 { logServer(checkIPv4) }
    if checkIPv6.isUp != upIPv6 { logServer(checkIPv6) }
    // Another listener: looked at before the dispatcher hears that the server is up.
    if checkIPv4.isUp != upIPv4 || checkIPv6.isUp != upIPv6 { nextJudgement = 0 }
    return next
  }

  private func logServer(_ check: borrowing ServerCheck) {
    if check.isUp == true {
      logger.info("the web server at \(check.server) answers")
    } else {
      logger.warning(
        """
        the web server at \(check.server) does not answer: \(check.problem). Handoffs of this address family are refused \
        until it listens there
        """)
    }
  }
}
