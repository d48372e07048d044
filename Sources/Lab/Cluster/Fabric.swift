// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// One layer-2 network: a bridge in a namespace of its own, to which nodes are attached. The host's own network is not
/// touched.
public struct Fabric: Sendable {
  private let run: LabRun
  /// Holds the bridge; its ports have the names of the nodes.
  public let namespace: NetworkNamespace

  public init(run: LabRun) throws(LabError) {
    self.run = run
    namespace = try run.makeNamespace("net")
    try Fabric.quieten(namespace)
    try Fabric.ip(
      namespace,
      ["link add br0 type bridge stp_state 0 mcast_snooping 0 forward_delay 0", "link set br0 up"])
  }

  /// Makes a namespace whose `eth0` is on the bridge.
  ///
  /// - Parameters:
  ///   - name: at most 12 bytes; the bridge's port has it too.
  ///   - addresses: the first pair is the node's own.
  ///   - offloads: false makes every frame on the wire at most MTU long, with a complete checksum, and keeps their order.
  public func attach(
    _ name: String, addresses: [LabAddresses.Pair], offloads: Bool = true
  ) throws(LabError) -> NetworkNamespace {
    let node = try run.makeNamespace(name)
    try Fabric.quieten(node)
    try Fabric.ip(
      namespace,
      [
        "link add \(name) type veth peer name eth0 netns \(node.name)",
        "link set \(name) master br0",
        "link set \(name) up",
      ])
    try Fabric.bringUp(node, addresses: addresses)
    if !offloads {
      try Fabric.disableOffloads(of: "eth0", in: node)
      try Fabric.disableOffloads(of: name, in: namespace)
    }
    return node
  }

  /// Makes a namespace whose `eth0` ends in another namespace, the wire, as `inside`; the wire's `outside` is on the
  /// bridge. No frame passes unless a program in the wire copies it between the two.
  public func attachThroughWire(
    _ name: String, addresses: [LabAddresses.Pair]
  ) throws(LabError) -> (node: NetworkNamespace, wire: NetworkNamespace) {
    let wire = try run.makeNamespace("\(name)-wire")
    let node = try run.makeNamespace(name)
    for namespace in [wire, node] { try Fabric.quieten(namespace) }
    try Fabric.ip(
      namespace,
      [
        "link add \(name) type veth peer name outside netns \(wire.name)",
        "link set \(name) master br0",
        "link set \(name) up",
      ])
    try Fabric.ip(
      wire,
      [
        "link add inside type veth peer name eth0 netns \(node.name)",
        "link set inside up",
        "link set outside up",
      ])
    try Fabric.bringUp(node, addresses: addresses)
    try Fabric.disableOffloads(of: "eth0", in: node)
    try Fabric.disableOffloads(of: name, in: namespace)
    for interface in ["inside", "outside"] { try Fabric.disableOffloads(of: interface, in: wire) }
    return (node, wire)
  }

  private static func bringUp(
    _ node: NetworkNamespace, addresses: [LabAddresses.Pair]
  ) throws(LabError) {
    var commands = ["link set eth0 up"]
    for pair in addresses {
      commands.append("addr add \(pair.ipv4)/\(LabAddresses.prefixLength4) dev eth0")
      commands.append("addr add \(pair.ipv6)/\(LabAddresses.prefixLength6) dev eth0 nodad")
    }
    try ip(node, commands)
  }

  /// No address detection or router search: a link is usable at once. One congestion control everywhere, since one that
  /// paces would make figures of a network without latency meaningless: cubic, or reno, which every kernel allows, where
  /// the host does not allow cubic to namespaces (`net.ipv4.tcp_allowed_congestion_control`).
  private static func quieten(_ namespace: NetworkNamespace) throws(LabError) {
    let settings = [
      "net/ipv6/conf/default/accept_dad": "0",
      "net/ipv6/conf/default/dad_transmits": "0",
      "net/ipv6/conf/default/accept_ra": "0",
      "net/ipv6/conf/default/router_solicitations": "0",
    ]
    do {
      try namespace.perform {
        for (key, value) in settings { try Sysctl.write(key, value) }
        let congestionControl = "net/ipv4/tcp_congestion_control"
        do {
          try Sysctl.write(congestionControl, "cubic")
        } catch is SystemError {
          try Sysctl.write(congestionControl, "reno")
        }
      }
    } catch {
      throw LabError("in namespace \(namespace.name): \(error)")
    }
  }

  private static func disableOffloads(of interface: String, in namespace: NetworkNamespace) throws(LabError) {
    let features = ["tso", "gso", "gro", "tx", "rx", "sg"]
    try namespace.run(["ethtool", "-K", interface] + features.flatMap { [$0, "off"] }).checked()
    // One processor takes what the interface receives: otherwise each frame is taken by the one that sent it, and a
    // sender that moves to another processor overtakes itself (veth without NAPI).
    let order = "echo 1 > /sys/class/net/\(interface)/queues/rx-0/rps_cpus"
    try Command.run(["ip", "netns", "exec", namespace.name, "sh", "-c", order]).checked()
  }

  private static func ip(_ namespace: NetworkNamespace, _ commands: [String]) throws(LabError) {
    let input = commands.joined(separator: "\n") + "\n"
    try namespace.run(["ip", "-batch", "-"], input: Array(input.utf8)).checked()
  }
}
