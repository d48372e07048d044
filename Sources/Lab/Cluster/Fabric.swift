// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// A layer-2 network, or three with a router between them: bridges in a namespace of their own, to which nodes are
/// attached. The host's own network is not touched.
public struct Fabric: Sendable {
  private let run: LabRun
  private let router: LabRouter?
  /// Holds the bridges; their ports have the names of the nodes.
  public let namespace: NetworkNamespace

  public init(run: LabRun, router: LabRouter? = nil) throws(LabError) {
    self.run = run
    self.router = router
    namespace = try run.makeNamespace("net")
    try Fabric.quieten(namespace)
    // A switch has no packet filter; with br_netfilter each frame passes all hooks of IP at each bridge, where the kernel has it.
    try namespace.run([
      "sh", "-c", "for hook in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $hook ] || echo 0 > $hook; done",
    ]).checked()
    for network in router == nil ? [.near] : LabNetwork.allCases {
      try Fabric.ip(
        namespace,
        [
          "link add \(network.bridge) type bridge stp_state 0 mcast_snooping 0 forward_delay 0",
          "link set \(network.bridge) up",
        ])
    }
    if let router { try start(router) }
  }

  /// Makes a namespace whose `eth0` is on the bridge.
  ///
  /// - Parameters:
  ///   - name: at most 12 bytes; the bridge's port has it too.
  ///   - addresses: the first pair is the node's own.
  ///   - offloads: false makes every frame on the wire at most MTU long, with a complete checksum, and keeps their order.
  public func attach(
    _ name: String, addresses: [LabAddresses.Pair], offloads: Bool = true, network: LabNetwork = .near
  ) throws(LabError) -> NetworkNamespace {
    let node = try run.makeNamespace(name)
    try Fabric.quieten(node)
    try Fabric.ip(
      namespace,
      [
        "link add \(name) type veth peer name eth0 netns \(node.name)",
        "link set \(name) master \(network.bridge) mtu \(mtu(of: network))",
        "link set \(name) up",
      ])
    try Fabric.bringUp(node, addresses: addresses)
    if router != nil {
      let gateway = LabAddresses.router(in: network)
      try Fabric.ip(
        node,
        [
          "link set eth0 mtu \(mtu(of: network))", "route add default via \(gateway.ipv4)",
          "route add default via \(gateway.ipv6)",
        ])
    }
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

  /// Sets the bridge's port of a node so that the node's programs can forward packets at the driver of its `eth0`: the port
  /// takes frames that they redirect (GRO), and sends none longer than the network carries or with an unfinished checksum.
  public func letDriverForward(_ name: String) throws(LabError) {
    try namespace.run(["ethtool", "-K", name, "tx", "off", "gro", "on"]).checked()
  }

  private func mtu(of network: LabNetwork) -> Int { network == .far ? router?.farMTU ?? 1500 : 1500 }

  /// A namespace with a leg in each network. A server node's answers come from an address that is in another network than
  /// the node: no router on the way may mind.
  private func start(_ router: LabRouter) throws(LabError) {
    let node = try run.makeNamespace("router")
    try Fabric.quieten(node)
    for network in LabNetwork.allCases {
      let (leg, mtu, own) = (network.routerInterface, mtu(of: network), LabAddresses.router(in: network))
      try Fabric.ip(
        namespace,
        [
          "link add \(leg) type veth peer name \(leg) netns \(node.name)",
          "link set \(leg) master \(network.bridge) mtu \(mtu)",
          "link set \(leg) up",
        ])
      try Fabric.ip(
        node,
        [
          "link set \(leg) mtu \(mtu) up",
          "addr add \(own.ipv4)/\(LabAddresses.prefixLength4) dev \(leg)",
          "addr add \(own.ipv6)/\(LabAddresses.prefixLength6) dev \(leg) nodad",
        ])
    }
    do {
      try node.perform {
        for name in ["all"] + LabNetwork.allCases.map(\.routerInterface) {
          try Sysctl.write("net/ipv4/conf/\(name)/rp_filter", "0")
        }
        try Sysctl.write("net/ipv4/ip_forward", "1")
        try Sysctl.write("net/ipv6/conf/all/forwarding", "1")
      }
    } catch {
      throw LabError("in namespace \(node.name): \(error)")
    }
    if router.clientPathMTU == 1500 { return }
    // Locked: the kernel forwards by the MTU of a route only when it is.
    try Fabric.ip(
      node,
      zip(LabNetwork.clients.prefixes, ["", "metric 256 "]).map { prefix, metric in
        "route replace \(prefix) dev \(LabNetwork.clients.routerInterface) \(metric)mtu lock \(router.clientPathMTU)"
      })
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
