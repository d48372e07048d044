// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxKernel
import NodeChecks
import Telemetry
import Wire

/// What must hold before the agent changes anything on the node.
enum StartupChecks {
  /// Capabilities and kernel features.
  static func checkRights() throws(StartupFailure) {
    let capabilities = ProcessCapabilities.effective()
    let missing = CapabilityNeed.backEnd.filter { !$0.isMet(by: capabilities) }.map(\.name)
    guard missing.isEmpty else {
      throw StartupFailure(
        "The back-end agent lacks \(missing.joined(separator: " and "))",
        remedy: "Start it as root, or give the capabilities: AmbientCapabilities=\(missing.joined(separator: " "))")
    }
    try checkRepair()
  }

  static func checkRepair() throws(StartupFailure) {
    if let error = TCPRepair.obstacle() {
      throw StartupFailure(
        "The kernel does not give TCP_REPAIR: \(error)",
        remedy: "Use a Linux kernel with TCP_REPAIR (3.5 or later) and a user namespace that owns the network namespace"
      )
    }
  }

  /// Held by the agent of a network namespace.
  static let lockName = "handoff/back-end"

  /// One agent in a network namespace: two would take away each other's addresses and rules.
  static func takeLock() throws(StartupFailure) -> AbstractLock {
    do {
      return try AbstractLock(lockName)
    } catch {
      guard error.errno == EADDRINUSE else { throw .resources(error) }
      throw StartupFailure(
        "Another back-end agent runs in this network namespace",
        remedy: "Stop it first: ss -xp src '@\(lockName)' names the process")
    }
  }

  static func listen(at endpoint: Endpoint) throws(StartupFailure) -> StreamSocket {
    do {
      return try StreamSocket.listen(at: endpoint)
    } catch {
      switch error.errno {
      case EADDRINUSE:
        throw StartupFailure(
          "The handoff port \(endpoint) is in use",
          remedy: "Stop its user (ss -ltnp 'sport = :\(endpoint.port)' names it) or give another handoff port")
      case EACCES:
        throw StartupFailure(
          "The handoff port \(endpoint) may not be used", remedy: "Give a port above 1023, or CAP_NET_BIND_SERVICE")
      default:
        throw StartupFailure(
          "The agent cannot listen at \(endpoint): \(error)", remedy: "Check the internal address of this node")
      }
    }
  }

  /// How many connections fit: two descriptors each, and some for everything else. The caller of `start` has told the
  /// operator when it is fewer than configured.
  static func connectionLimit(_ configuration: BackEndConfiguration) -> UInt32 {
    let limit = (try? DescriptorLimit.raise()) ?? DescriptorLimit.current()
    let possible = UInt32(clamping: limit.soft > 256 ? (limit.soft - 192) / 2 : limit.soft / 8)
    return min(possible, configuration.maximumConnections)
  }
}
