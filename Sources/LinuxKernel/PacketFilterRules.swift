// SPDX-License-Identifier: Apache-2.0

import Glibc
public import Wire

/// The netfilter rules that bring clients' packets to the queues: a chain of its own in the raw table, before the
/// kernel's connection tracking and before its TCP. The kernel has no nft queue expression everywhere, so the rule is
/// xt_NFQUEUE, set by iptables-restore.
///
///     PREROUTING: -i IF -p tcp -d ADDRESS --dport PORT -j HANDOFF-FE
///     HANDOFF-FE: packets that carry the mark of locally served flows RETURN, all others NFQUEUE
public struct PacketFilterRules: Sendable, Hashable {
  public static let chain = "HANDOFF-FE"

  public var interface: String
  public var services: [Endpoint]
  public var firstQueue: UInt16
  public var queues: UInt16
  /// skb->mark that the forwarding plane sets on packets of flows whose back-end is this node.
  public var localMark: UInt32

  public init(interface: String, services: [Endpoint], firstQueue: UInt16, queues: UInt16, localMark: UInt32) {
    self.interface = interface
    self.services = services
    self.firstQueue = firstQueue
    self.queues = queues
    self.localMark = localMark
  }

  /// Installs the rules; what an earlier process left is removed first.
  public func install() throws(SystemError) {
    PacketFilterRules.remove()
    for isIPv4 in [true, false] {
      let services = self.services.filter { $0.address.isIPv4 == isIPv4 }
      if services.isEmpty { continue }
      let tool = PacketFilterRules.tool(isIPv4) + "-restore"
      let result = try ToolProcess.run(tool, ["--noflush", "--wait", "5"], input: restoreInput(services))
      if result.status != 0 {
        throw SystemError("\(tool): \(result.output.split(separator: "\n").first ?? "failed")", errno: EINVAL)
      }
    }
  }

  func restoreInput(_ services: [Endpoint]) -> String {
    let chain = PacketFilterRules.chain
    var lines = ["*raw", ":\(chain) - [0:0]"]
    for service in services {
      lines.append(
        "-A PREROUTING -i \(interface) -p tcp -d \(service.address) --dport \(service.port) -j \(chain)")
    }
    lines.append("-A \(chain) -m mark --mark \(localMark) -j RETURN")
    lines.append(
      queues == 1
        ? "-A \(chain) -j NFQUEUE --queue-num \(firstQueue)"
        : "-A \(chain) -j NFQUEUE --queue-balance \(firstQueue):\(firstQueue + queues - 1)")
    lines.append("COMMIT")
    return lines.joined(separator: "\n") + "\n"
  }

  /// Removes the chain and every jump to it, of this process or of one that died. Silent when there is none.
  public static func remove() {
    for isIPv4 in [true, false] {
      let tool = tool(isIPv4)
      guard let listing = try? ToolProcess.run(tool, ["--wait", "5", "-t", "raw", "-S", "PREROUTING"]),
        listing.status == 0
      else { continue }
      for line in listing.output.split(separator: "\n") where line.hasSuffix("-j \(chain)") {
        let rule = line.split(separator: " ").dropFirst().map(String.init)
        _ = try? ToolProcess.run(tool, ["--wait", "5", "-t", "raw", "-D"] + rule)
      }
      _ = try? ToolProcess.run(tool, ["--wait", "5", "-t", "raw", "-F", chain])
      _ = try? ToolProcess.run(tool, ["--wait", "5", "-t", "raw", "-X", chain])
    }
  }

  private static func tool(_ isIPv4: Bool) -> String { isIPv4 ? "iptables" : "ip6tables" }
}
