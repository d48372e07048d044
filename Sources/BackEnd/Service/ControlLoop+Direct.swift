// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ForwardingPlane
import LinuxKernel
import Logging
import Wire

/// Serving directly, as far as the control thread has to do with it.
extension ControlLoop {
  mutating func takeServices(_ endpoints: [Endpoint]) {
    guard let plane else { return }
    // Later on open connections are our own, also when a view without services lies between: a dispatcher that was
    // started anew hears of the distributors one by one.
    let isFirst = !hasHadServices && !endpoints.isEmpty
    if isFirst { hasHadServices = true }
    services = endpoints
    nextJudgement = 0
    do throws(ServePlaneError) {
      try plane.setServices(endpoints)
    } catch {
      logger.error("the serving program does not know what is served: \(error)")
      for isIPv4 in [true, false] { shared.families.set(false, isIPv4: isIPv4) }
      return
    }
    // Nothing of our own is open yet: whatever the server has there is a predecessor's.
    if isFirst { shared.mailboxes.first?.adoptPredecessors(at: endpoints) }
  }

  /// False where connections must be served directly and the listener cannot take them.
  func mayServe(isIPv4: Bool) -> Bool { configuration.serve != .direct || shared.families.contains(isIPv4: isIPv4) }

  /// Once a second: whether the web server's listener can be given connections. It may have been started anew.
  mutating func judgeListeners(_ now: UInt64) -> UInt64 {
    guard plane != nil else { return .max }
    if now < nextJudgement { return nextJudgement }
    nextJudgement = now + 1_000_000_000
    let listeners: [TCPListener]
    do {
      listeners = try diagnostics.tcpListeners(port: configuration.serverPort)
    } catch {
      logger.warning("the web server's listener cannot be looked at: \(error)")
      return nextJudgement
    }
    for isIPv4 in [true, false] {
      let addresses = services.map(\.address).filter { $0.isIPv4 == isIPv4 }
      if addresses.isEmpty { continue }
      let judgement = ListenerJudgement.judge(
        listeners, services: addresses, server: configuration.server(isIPv4: isIPv4))
      guard judgements[isIPv4] != judgement else { continue }
      judgements[isIPv4] = judgement
      shared.families.set(judgement.obstacle == nil, isIPv4: isIPv4)
      let family = isIPv4 ? "IPv4" : "IPv6"
      switch (judgement.obstacle, configuration.serve) {
      case (nil, _): logger.notice("\(family) connections are served directly")
      case (let reason?, .direct): logger.error("\(family) connections are refused: \(reason)")
      case (let reason?, _): logger.notice("\(family) connections are relayed: \(reason)")
      }
    }
    return nextJudgement
  }
}
