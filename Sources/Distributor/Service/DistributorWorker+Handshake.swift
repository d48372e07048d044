// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import ForwardingPlane
import Telemetry

extension DistributorWorker {
  /// Nanoseconds for which the kernel takes a worker for alive. Without a living worker nobody would take the request:
  /// the kernel drops SYNs, which clients repeat, instead of answering them.
  static let aliveFor: UInt64 = 2_000_000_000
  private static let aliveInterval: UInt64 = 500_000_000

  /// Tells the kernel that this worker lives, and keeps up with the keys of cookies.
  mutating func showLife() {
    aliveAt = core.now + DistributorWorker.aliveInterval
    shared.handshake.keepAlive(worker: index, until: core.now + DistributorWorker.aliveFor)
    var keys = shared.keys.read()
    if index == 0 {
      shared.driver.adapt()
      var random = SystemRandomNumberGenerator()
      if keys.rotate(now: core.now, using: &random) {
        shared.handshake.secrets = HandshakeSecrets(keys)
        shared.keys.publish(keys)
      }
    }
    core.responder.setHandshakeKeys(keys)
    lookAtWays()
  }
}
