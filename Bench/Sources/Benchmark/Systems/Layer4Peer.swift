// SPDX-License-Identifier: Apache-2.0

import Lab

/// A layer-4 balancer with direct server return that is nothing but nftables rules: the least that forwarding a
/// connection's packets can cost.
///
/// As the nftables wiki shows it ("Load balancing", stateless, netdev family): at ingress the destination MAC is set by a
/// hash of the client's address and port, and the packet leaves by the interface it came from. No connection tracking, no
/// routing, no socket. Server nodes have the served address on `lo` and do not answer ARP for it (as LVS documents for
/// direct routing). It sees no content, so it has no locality.
struct Layer4Peer: LabProgram {
  func start(at node: ClusterNode, of cluster: Cluster) throws(LabError) {
    guard let service = node.service else { return }
    let servers = cluster.nodes.filter { $0.web != nil }
    var choices: [String] = []
    for (number, server) in servers.enumerated() {
      let script = """
        sysctl -q -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 net.ipv4.conf.all.rp_filter=0
        ip address add \(service.ipv4)/32 dev lo
        cat /sys/class/net/eth0/address
        """
      let result = try Command.run(["ip", "netns", "exec", server.namespace.name, "sh", "-c", script]).checked()
      choices.append("\(number) : \(hardwareAddress(result))")
    }
    let own = try Command.run(["ip", "netns", "exec", node.namespace.name, "cat", "/sys/class/net/eth0/address"])
      .checked()
    // The source address has to change too: a switch must not learn the client's behind the balancer's port.
    let rules = """
      table netdev balancer {
        chain ingress {
          type filter hook ingress device eth0 priority 0; policy accept;
          ip daddr \(service.ipv4) tcp dport \(cluster.plan.frontPort) ether saddr set \(hardwareAddress(own)) \
      ether daddr set jhash ip saddr . tcp sport \
      mod \(servers.count) map { \(choices.joined(separator: ", ")) } fwd to eth0
        }
      }

      """
    let file = "\(node.folder)/balancer.nft"
    try Cluster.write(rules, to: file)
    try node.namespace.run(["nft", "-f", file]).checked()
  }

  private func hardwareAddress(_ result: CommandResult) -> Substring { result.output.split(separator: "\n").last ?? "" }
}

extension BenchSystem {
  static let layer4 = BenchSystem(
    name: "layer4", kind: .lowerBound,
    explanation: """
      nftables alone: layer-4 direct return by a hash of the client's address and port, stateless, in the kernel at the \
      interface. Sees no URL; the lower bound for anything that forwards packets.
      """, needs: ["nft"], front: .haproxy, program: Layer4Peer(), keepsPort: true, seesContent: false)
}
