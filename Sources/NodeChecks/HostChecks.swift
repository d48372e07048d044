// SPDX-License-Identifier: Apache-2.0

public import LinuxKernel
public import Wire

/// What does not depend on a role's own code: interfaces, ways to other nodes, the clock.
public enum HostChecks {
  /// Bytes of the packets that clients send at most: the segment size that they are told is made for Ethernet.
  static let packetSize = 1500
  /// What every IPv6 link takes (RFC 8200 section 5).
  static let leastIPv6Packet = 1280

  /// The interface on which clients' packets arrive and are forwarded.
  ///
  /// - Parameter forwards: a distributor's.
  public static func interface(_ name: String, forwards: Bool) -> [DoctorFinding] {
    let facts: InterfaceFacts
    do throws(SystemError) {
      var netlink = try NetlinkSocket(.route)
      guard let interface = try netlink.interface(named: name) else {
        return [
          DoctorFinding(
            .node, "interface \(name)",
            .missing("There is no interface \(name) in this network namespace", remedy: "Name one that `ip link` lists")
          )
        ]
      }
      facts = InterfaceFacts(
        name: name, isUp: interface.isUp, mtu: interface.mtu,
        hasLargeReceiveOffload: InterfaceOffloads.hasLargeReceive(name),
        longestJoinedPacket: try netlink.longestJoinedPacket(interface: interface.index))
    } catch {
      return [
        DoctorFinding(
          .node, "interface \(name)",
          .missing("Interfaces cannot be listed: \(error)", remedy: "Allow this process netlink sockets"))
      ]
    }
    return interface(facts, forwards: forwards)
  }

  struct InterfaceFacts: Hashable, Sendable {
    var name: String
    var isUp: Bool
    var mtu: Int
    var hasLargeReceiveOffload: Bool
    var longestJoinedPacket: Int?
  }

  static func interface(_ facts: InterfaceFacts, forwards: Bool) -> [DoctorFinding] {
    let name = facts.name
    var findings = [
      DoctorFinding(
        .node, "interface \(name)", found: "up", problem: facts.isUp ? nil : "Interface \(name) is down",
        isNeeded: true, loss: "", remedy: "Bring it up: ip link set \(name) up"),
      DoctorFinding(
        .node, "MTU of \(name)", found: "\(facts.mtu)",
        problem: facts.mtu >= packetSize ? nil : "It is \(facts.mtu), below the \(packetSize) of clients' packets",
        isNeeded: false,
        loss: "clients learn that only from a router's ICMP messages; where those are filtered, uploads stall",
        remedy: "Raise it on the whole link: ip link set \(name) mtu \(packetSize)"),
    ]
    guard forwards else { return findings }
    findings.append(
      DoctorFinding(
        .distributor, "large receive offload", found: "off",
        problem: facts.hasLargeReceiveOffload ? "\(name) joins segments in the device" : nil, isNeeded: false,
        loss: "joined packets cannot be forwarded: uploads through this distributor stall",
        remedy: "Switch it off: ethtool -K \(name) lro off"))
    // Longer ones have a hop-by-hop header for IPv6, behind which the program does not look.
    let joined = facts.longestJoinedPacket ?? 65_536
    findings.append(
      DoctorFinding(
        .distributor, "joined segments", found: "at most \(joined) bytes",
        problem: joined <= 65_536 ? nil : "gro_max_size of \(name) is \(joined)", isNeeded: false,
        loss: "longer IPv6 packets go to user space instead of to their back-end",
        remedy: "ip link set \(name) gro_max_size 65536"))
    return findings
  }

  /// Whether another node can be reached, and how clients' packets would get there.
  ///
  /// - Parameters:
  ///   - interface: on which clients' packets arrive; nil for a node without a distributor.
  ///   - overhead: bytes of a tunnel's outer headers over IPv4 or IPv6.
  public static func peer(_ address: IPAddress, interface: String?, overhead: Int) -> DoctorFinding {
    let check = "peer \(address)"
    do throws(SystemError) {
      var netlink = try NetlinkSocket(.route)
      let route = try netlink.route(to: address)
      let way = try netlink.interface(route.interface)
      let mtu = way?.mtu ?? packetSize
      return peer(
        address,
        PeerRoute(
          interface: way?.name ?? "?", mtu: min(mtu, route.mtu ?? mtu), isOnLink: route.isOnLink, isLocal: route.isLocal
        ),
        interface: interface, overhead: overhead)
    } catch {
      return DoctorFinding(
        .node, check,
        .missing("No route leads there: \(error)", remedy: "Add one: ip route get \(address) must tell it"))
    }
  }

  struct PeerRoute: Hashable, Sendable {
    var interface: String
    var mtu: Int
    var isOnLink: Bool
    var isLocal: Bool
  }

  static func peer(_ address: IPAddress, _ route: PeerRoute, interface: String?, overhead: Int) -> DoctorFinding {
    let check = "peer \(address)"
    if route.isLocal { return DoctorFinding(.node, check, .ok("this node's own address")) }
    if route.isOnLink, interface == nil || interface == route.interface {
      return DoctorFinding(.node, check, .ok("a neighbour on \(route.interface)"))
    }
    // Clients are told a segment size that leaves the room; but no IPv6 host takes notice of less than 1,280 bytes when it
    // has connected before.
    if route.mtu < leastIPv6Packet + overhead {
      return DoctorFinding(
        .node, check,
        .lost(
          "It is reached through a tunnel over \(route.interface), where packets have \(route.mtu) bytes at most",
          loss: "uploads of IPv6 clients that connected before this was known go through user space",
          remedy: "Raise the MTU of that way to \(leastIPv6Packet + overhead) at least"))
    }
    return DoctorFinding(
      .node, check, .ok("through a tunnel over \(route.interface), MTU \(route.mtu), \(overhead) bytes of headers"))
  }

  /// Whether the kernel translates BPF programs; only the first network namespace shows the setting.
  ///
  /// - Parameter setting: `net.core.bpf_jit_enable`, nil where it does not show.
  public static func translator(_ setting: String?) -> DoctorFinding {
    DoctorFinding(
      .node, "BPF translator", found: setting == nil ? "not shown in this network namespace" : "on",
      problem: setting == "0" ? "net.core.bpf_jit_enable is 0" : nil, isNeeded: false,
      loss: "packets are forwarded by interpreted programs, and the one that serves directly cannot be loaded",
      remedy: "sysctl -w net.core.bpf_jit_enable=1")
  }

  /// Timers go by the monotonic clock; the time of day is in logs and in the Date field of a distributor's own answers.
  public static func clock(_ state: ClockDiscipline) -> DoctorFinding {
    let problem: String? =
      switch state {
      case .synchronised: nil
      case .alone: "Nothing keeps the clock right"
      case .unknown: "The kernel does not tell whether the clock is right"
      }
    return DoctorFinding(
      .node, "clock", found: "synchronised", problem: problem, isNeeded: false,
      loss: "logs of different nodes cannot be laid side by side",
      remedy: "Run chrony or systemd-timesyncd here or at the host; timers and handoffs do not depend on it")
  }
}
