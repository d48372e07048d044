// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import DispatcherCore
import Distributor
import Handoff
import Wire

extension NodePlan {
  /// What would start, one line per thing, for `--check`.
  var text: String {
    var lines = [
      "node             \(nodeName)",
      "roles            \(configuration.roles.map(\.rawValue).joined(separator: ", "))",
      "internal address \(internalAddress)",
    ]
    switch configuration.dispatcher {
    case .here(let settings):
      lines.append("dispatcher       here, control connections at \(dispatcher)")
      lines.append("policy           \(settings.policy.rawValue), t-low \(settings.tLow), t-high \(settings.tHigh)")
      lines.append("admission        \(admission(settings.admission))")
      lines.append("leases           \(leases(settings.leases))")
      if !settings.rules.isEmpty { lines.append("rules            \(settings.rules.count)") }
    case .elsewhere(let host):
      lines.append("dispatcher       \(dispatcher)" + (host == "\(dispatcher.address)" ? "" : " (\(host))"))
    }
    if let backEnd = configuration.backEnd {
      lines.append("web server       port \(backEnd.serverPort) of this node, weight \(backEnd.weight)")
      lines.append("serve mode       \(backEnd.serveMode.rawValue)")
      if !backEnd.pools.isEmpty { lines.append("pools            \(backEnd.pools.joined(separator: ", "))") }
      lines.append("handoffs         at \(Endpoint(internalAddress, backEnd.handoffPort))")
      let loops = backEndWorkers > 0 ? "\(backEndWorkers) workers" : "workers as the serve mode needs"
      lines.append("connections      at most \(backEnd.maximumConnections), \(loops)")
    }
    if let distributor = configuration.distributor {
      lines.append("interface        \(interface)")
      lines.append("serves           \(services.map { "\($0)" }.joined(separator: ", "))")
      let last = Int(distributor.queueNumber) + workers - 1
      lines.append("workers          \(workers), queues \(distributor.queueNumber) to \(last)")
      lines.append("handshake        \(distributor.handshake.rawValue), packets by \(distributor.packets.rawValue)")
      lines.append("forwarding       hook \(distributor.forwarding.rawValue)")
      lines.append("tunnels          \(distributor.tunnel.rawValue)")
      lines.append("handoffs         \(distributor.handoffs.rawValue)")
      lines.append("flows            at most \(distributor.maximumFlows)")
      lines.append("head timeout     \(seconds(Double(distributor.headTimeout) / 1e9))")
    }
    lines.append("admin            \(configuration.admin.map { "http://\($0)" } ?? "none")")
    lines.append("drain            at most \(seconds(configuration.drainSeconds))")
    return lines.map { $0 + "\n" }.joined()
  }

  private func admission(_ admission: Admission) -> String {
    switch admission {
    case .unlimited: "unlimited"
    case .thresholds: "as t-low and t-high imply"
    case .fixed(let limit): "at most \(limit) connections"
    }
  }

  private func leases(_ terms: LeaseTerms) -> String {
    terms.credits == 0 ? "none" : "\(terms.credits) requests, targets for \(seconds(Double(terms.time) / 1e9))"
  }

  private func seconds(_ value: Double) -> String {
    value == value.rounded() ? "\(Int(value)) s" : "\(value) s"
  }
}
