// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DistributorCore
import ForwardingPlane
import LinuxKernel
import Logging
import Wire

/// What the ways to the back-ends take, and what clients are told of it.
extension DistributorWorker {
  /// Messages of routers that are read in one turn: a flood of them must not keep the worker from clients.
  private static let pathErrorsPerTurn = 64

  /// One hears for all.
  static func openPathErrors(
    _ configuration: DistributorConfiguration, worker: Int, _ epoll: borrowing Epoll
  ) throws(SystemError) -> PathErrorSocket? {
    if worker != 0 || configuration.tunnel == .never { return nil }
    let socket = try PathErrorSocket(isIPv4: configuration.internalAddress.isIPv4)
    try epoll.add(socket.descriptor, .read, token: pathErrorToken)
    return consume socket
  }

  /// Routers have answered packets in tunnels that were too long for them.
  mutating func receivePathErrors() {
    if pathErrors == nil { return }
    let (tunnels, now, logger) = (shared.reach.tunnels, core.now, logger)
    do {
      try pathErrors!.receive(limit: DistributorWorker.pathErrorsPerTurn) { report in
        guard let mtu = tunnels.learn(report, now: now) else { return }
        logger.notice(
          "a router told the MTU of the way to a server node",
          metadata: ["node": "\(report.destination)", "mtu": "\(mtu)"])
      }
    } catch {
      // A message that was lost is told again with the next packet that is too long.
      logger.debug("cannot read routers' errors", metadata: ["error": "\(error)"])
    }
    announceLongestPacket()
  }

  /// Looks at one way after the other, since routes and links change; each is a few system calls.
  mutating func lookAtWays() {
    if index == 0 {
      shared.reach.tunnels.age(now: core.now)
      if !view.backEnds.isEmpty {
        nextWay = (nextWay + 1) % view.backEnds.count
        let description = view.backEnds[nextWay]
        if case .tunnel = link(description.id.rawValue)?.reach {
          // A way that is gone shows when it is to be used anew.
          _ = try? shared.reach.find(description.registration, now: core.now)
        }
      }
    }
    announceLongestPacket()
  }

  /// Tells clients that connect from now on what fits all ways.
  mutating func announceLongestPacket() {
    let reaches = view.backEnds.compactMap { link($0.id.rawValue)?.reach }
    longestPacket = shared.reach.longestPacket(to: reaches)
    let sizes = SegmentSizes(longestPacket: longestPacket)
    core.responder.announce(sizes)
    if index == 0 { shared.handshake.announce(segmentSizeIPv4: sizes.ipv4, segmentSizeIPv6: sizes.ipv6) }
  }
}
