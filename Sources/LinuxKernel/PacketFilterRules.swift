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

  /// Installs the rules in one transaction for each address family, in place of what an earlier process left: while a
  /// killed process's rules wait for their successor the kernel drops clients' packets, which the clients repeat; without
  /// any rule it would answer them with resets.
  public func install() throws(SystemError) {
    for isIPv4 in [true, false] {
      let tool = PacketFilterRules.tool(isIPv4)
      let services = self.services.filter { $0.address.isIPv4 == isIPv4 }
      let old = PacketFilterRules.jumps(tool)
      if services.isEmpty, old.isEmpty { continue }
      let result = try ToolProcess.run(
        tool + "-restore", ["--noflush", "--wait", "5"], input: restoreInput(services, replacing: old))
      if result.status != 0 {
        throw SystemError("\(tool)-restore: \(result.output.split(separator: "\n").first ?? "failed")", errno: EINVAL)
      }
    }
  }

  func restoreInput(_ services: [Endpoint], replacing old: [String]) -> String {
    let chain = PacketFilterRules.chain
    // Declaring the chain empties it when it exists.
    var lines = ["*raw", ":\(chain) - [0:0]"]
    lines += old.map { "-D \($0)" }
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

  /// The rules that jump to the chain, without their `-A`.
  private static func jumps(_ tool: String) -> [String] {
    guard let listing = try? ToolProcess.run(tool, ["--wait", "5", "-t", "raw", "-S", "PREROUTING"]),
      listing.status == 0
    else { return [] }
    return listing.output.split(separator: "\n").filter { $0.hasSuffix("-j \(chain)") }.map { String($0.dropFirst(3)) }
  }

  /// Removes the chain and every jump to it, of this process or of one that died. Silent when there is none.
  public static func remove() {
    for isIPv4 in [true, false] {
      let tool = tool(isIPv4)
      for jump in jumps(tool) {
        let rule = jump.split(separator: " ").map(String.init)
        _ = try? ToolProcess.run(tool, ["--wait", "5", "-t", "raw", "-D"] + rule)
      }
      _ = try? ToolProcess.run(tool, ["--wait", "5", "-t", "raw", "-F", chain])
      _ = try? ToolProcess.run(tool, ["--wait", "5", "-t", "raw", "-X", chain])
    }
  }

  private static func tool(_ isIPv4: Bool) -> String { isIPv4 ? "iptables" : "ip6tables" }
}
