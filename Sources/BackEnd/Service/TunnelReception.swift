// SPDX-License-Identifier: Apache-2.0

import ForwardingPlane
import Logging
import Telemetry
import Wire

/// The agent's side of the tunnels through which distributors on other networks send clients' packets.
struct TunnelReception: ~Copyable {
  private var exit: TunnelExit?
  private var distributors: Set<IPAddress> = []
  private var served: Set<IPAddress> = []
  private let logger: Logger

  init(logger: Logger) { self.logger = logger }

  /// Puts the tunnels' end on the interface, or removes what a killed agent left there.
  ///
  /// - Returns: where the packets are counted; nil without tunnels.
  mutating func open(
    at interface: String, accepting: Bool
  ) throws(StartupFailure) -> TunnelCounterArray? {
    do throws(ForwardingPlaneError) {
      guard accepting else {
        try TunnelExit.removeLeftovers(interface: interface)
        return nil
      }
      let opened = try TunnelExit.attach(interface: interface)
      let counters = opened.counters
      exit = consume opened
      return counters
    } catch {
      throw TunnelReception.explain(error)
    }
  }

  static func explain(_ error: ForwardingPlaneError) -> StartupFailure {
    StartupFailure(
      "The agent cannot take packets from tunnels: \(error)",
      remedy:
        "Run as root (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON), or give --tunnel never if all distributors are on this link"
    )
  }

  /// A distributor has connected: it may send through a tunnel from now on. One that has gone stays known, as its kernel goes
  /// on forwarding without it.
  mutating func distributorConnected(from address: IPAddress) {
    guard distributors.insert(address).inserted else { return }
    do {
      try exit?.setPeers(distributors)
    } catch {
      distributors.remove(address)
      logger.error("packets from the tunnel of \(address) will be dropped: \(error)")
    }
  }

  mutating func serve(_ addresses: Set<IPAddress>) {
    if addresses == served { return }
    do {
      try exit?.setServed(addresses)
      served = addresses
    } catch {
      logger.error("packets from tunnels will be dropped: \(error)")
    }
  }

  mutating func close() {
    do {
      try exit.take()?.detach()
    } catch {
      logger.error("the tunnels' end could not be removed: \(error)")
    }
  }
}
