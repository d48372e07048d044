// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Wire

/// Nodes, each a namespace with an interface `eth0`, on one bridge in a namespace of its own.
final class SwitchedNetwork: Sendable {
  struct Node: Sendable {
    let namespace: NetworkNamespace
    let mac: MACAddress
  }

  let nodes: [Node]
  let bridge: NetworkNamespace

  init(_ names: [String]) throws {
    let bridge = try NetworkNamespace.create(TestInterface.uniqueName("s"))
    var nodes: [Node] = []
    do {
      try bridge.run(["ip", "link", "add", "br0", "type", "bridge"]).checked()
      try bridge.run(["ip", "link", "set", "br0", "up"]).checked()
      for (index, name) in names.enumerated() {
        let mac = MACAddress(bits: 0x0200_0000_1000 + UInt64(index))
        let namespace = try NetworkNamespace.create(TestInterface.uniqueName("n"))
        nodes.append(Node(namespace: namespace, mac: mac))
        try namespace.run(["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"]).checked()
        try bridge.run([
          "ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "address", mac.description, "netns",
          namespace.name,
        ]).checked()
        try bridge.run(["ip", "link", "set", name, "master", "br0", "up"]).checked()
        try namespace.run(["ip", "link", "set", "eth0", "up"]).checked()
      }
    } catch {
      for node in nodes { try? node.namespace.remove() }
      try? bridge.remove()
      throw error
    }
    self.bridge = bridge
    self.nodes = nodes
  }

  deinit {
    for node in nodes { try? node.namespace.remove() }
    try? bridge.remove()
  }
}
