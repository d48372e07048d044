// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Synchronization
import Wire

/// A client and a server node on one link. The served addresses are routed to the node.
final class TestNetwork: Sendable {
  let client: NetworkNamespace
  let node: NetworkNamespace

  static let clientIPv4 = IPAddress("10.88.0.1")!
  static let clientIPv6 = IPAddress("fd88::1")!
  static let nodeIPv4 = IPAddress("10.88.0.2")!
  static let nodeIPv6 = IPAddress("fd88::2")!
  static let serviceIPv4 = IPAddress("10.88.1.100")!
  static let serviceIPv6 = IPAddress("fd88:1::100")!

  private static let number = Atomic<Int>(0)

  init() throws {
    let number = TestNetwork.number.add(1, ordering: .relaxed).newValue
    let client = try NetworkNamespace.create("hbe-\(getpid())-\(number)c")
    self.client = client
    node = try NetworkNamespace.create("hbe-\(getpid())-\(number)n")
    try Command.run([
      "ip", "link", "add", "eth0", "netns", client.name, "type", "veth", "peer", "eth0", "netns", node.name,
    ])
    .checked()
    for (namespace, ipv4, ipv6) in [
      (client, TestNetwork.clientIPv4, TestNetwork.clientIPv6), (node, TestNetwork.nodeIPv4, TestNetwork.nodeIPv6),
    ] {
      try namespace.run(["ip", "address", "add", "\(ipv4)/24", "dev", "eth0"]).checked()
      try namespace.run(["ip", "address", "add", "\(ipv6)/64", "dev", "eth0", "nodad"]).checked()
      try namespace.run(["ip", "link", "set", "eth0", "up"]).checked()
    }
    try client.run(["ip", "route", "add", "10.88.1.0/24", "via", "10.88.0.2"]).checked()
    try client.run(["ip", "route", "add", "fd88:1::/64", "via", "fd88::2"]).checked()
  }

  deinit {
    try? client.remove()
    try? node.remove()
  }

  func setClient(_ setting: String, _ value: Int) throws {
    try client.perform { try Sysctl.write("net/ipv4/\(setting)", "\(value)") }
  }

  static func service(isIPv4: Bool, port: UInt16 = 80) -> Endpoint {
    Endpoint(isIPv4 ? serviceIPv4 : serviceIPv6, port)
  }
}
