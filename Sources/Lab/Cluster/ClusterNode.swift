// SPDX-License-Identifier: Apache-2.0

public import Wire

/// One machine of a running cluster.
public struct ClusterNode: Sendable {
  public let plan: ClusterPlan.Node
  public let namespace: NetworkNamespace
  /// The node's own addresses.
  public let address: LabAddresses.Pair
  /// What clients dial to reach the front on this node, if there is one.
  public let service: LabAddresses.Pair?
  public let web: WebServerInstance?
  /// Configurations and logs of this node.
  public let folder: String

  public var name: String { plan.name }

  /// Where cluster_startup shows /metrics and /healthz, inside the namespace.
  public static let admin = Endpoint(IPAddress(ipv4: 0x7f00_0001), 7010)
  static let applicationPort: UInt16 = 9000

  /// The command line of this node's cluster_startup, nil when the node has none of its roles.
  func startupCommand(
    _ program: String, _ cluster: ClusterPlan, dispatcher: LabAddresses.Pair
  ) -> [String]? {
    var roles: [String] = []
    if plan.isDispatcher { roles += ["-D", "--policy", cluster.policy] + cluster.dispatcherOptions }
    if plan.isDistributor, let service {
      roles += ["-FE", "-fp", "\(cluster.frontPort)", "--serve", "\(service.ipv4)", "--serve", "\(service.ipv6)"]
      roles += cluster.distributorOptions
    }
    if plan.server != nil { roles += ["-BE", "-bp", "\(cluster.serverPort)", "--serve-mode", cluster.serve] }
    if roles.isEmpty { return nil }
    func inside(_ pair: LabAddresses.Pair) -> IPAddress { cluster.isIPv6Inside ? pair.ipv6 : pair.ipv4 }
    if !plan.isDispatcher { roles += ["-da", "\(inside(dispatcher))"] }
    return [program] + roles + [
      "--node-name", name, "--internal-address", "\(inside(address))", "--admin", "\(ClusterNode.admin)",
      "--log-level", cluster.logLevel,
    ] + cluster.extraOptions + plan.options
  }

  /// The state of the node's network that programs could have changed, for a comparison before and after.
  func networkState() throws(LabError) -> [String] {
    let script = """
      ip -o addr show | sed 's/valid_lft.*//'; ip rule; ip -6 rule
      ip route show table all; ip -6 route show table all
      iptables-save; ip6tables-save
      for i in eth0 lo; do tc qdisc show dev $i; tc filter show dev $i ingress; tc filter show dev $i egress; done
      ip -o link show | grep -o 'xdp.*'
      sysctl -a 2>/dev/null | grep -E 'forward|rp_filter|arp_|nonlocal|accept_local|localnet|redirects|syncookies|tw_'
      """
    let output = try namespace.run(["sh", "-c", script]).output
    let programs = try namespace.expressPrograms()
    return programs
      + output.split(separator: "\n").map(String.init).filter { line in
        // Chains and tables without a rule, times and counters tell nothing; neighbours' routes come and go.
        guard let first = line.first else { return false }
        return !"#:*".contains(first) && line != "COMMIT" && !line.contains("cache")
      }
  }
}
