// SPDX-License-Identifier: Apache-2.0

import CLinux
import Clibmnl
import Glibc
public import Wire

/// A policy rule: locally made TCP packets from one address and port look up `table`.
public struct RoutingRule: Hashable, Sendable {
  public var source: IPAddress
  public var sourcePort: UInt16
  public var table: UInt32
  public var priority: UInt32
  public var tag: UInt8

  public init(source: IPAddress, sourcePort: UInt16, table: UInt32, priority: UInt32, tag: UInt8) {
    self.source = source
    self.sourcePort = sourcePort
    self.table = table
    self.priority = priority
    self.tag = tag
  }
}

extension NetlinkSocket {
  /// `ip rule add from SOURCE iif lo ipproto tcp sport PORT lookup TABLE pref PRIORITY protocol TAG`.
  public mutating func add(_ rule: RoutingRule) throws(SystemError) {
    try change(rule, Int32(RTM_NEWRULE), NLM_F_CREATE | NLM_F_EXCL, "RTM_NEWRULE")
  }

  public mutating func remove(_ rule: RoutingRule) throws(SystemError) {
    try change(rule, Int32(RTM_DELRULE), 0, "RTM_DELRULE")
  }

  private mutating func change(
    _ rule: RoutingRule, _ type: Int32, _ flags: Int32, _ call: String
  ) throws(SystemError) {
    let request = NetlinkRequest(type: type, flags: NLM_F_ACK | flags)
    var header = fib_rule_hdr()
    header.family = rule.source.family
    header.src_len = rule.source.hostPrefix
    header.action = 1  // FR_ACT_TO_TBL
    request.putHeader(header)
    request.put(2, rule.source)
    request.put(3, "lo")
    request.put(6, rule.priority)
    request.put(15, rule.table)
    request.put(21, rule.tag)
    request.put(22, UInt8(IPPROTO_TCP))
    // struct fib_rule_port_range, host order.
    let low = UInt8(truncatingIfNeeded: rule.sourcePort)
    let high = UInt8(truncatingIfNeeded: rule.sourcePort >> 8)
    let range: [UInt8] = [low, high, low, high]
    request.put(23, range.span)
    do {
      try exchange(request, call: call)
    } catch {
      throw error.on("rule \(rule.priority) from \(rule.source) port \(rule.sourcePort)")
    }
  }

  /// All rules of a family that carry `tag`.
  public mutating func rules(tag: UInt8, isIPv4: Bool) throws(SystemError) -> [RoutingRule] {
    let request = NetlinkRequest(type: Int32(RTM_GETRULE), flags: NLM_F_DUMP)
    var header = fib_rule_hdr()
    header.family = UInt8(isIPv4 ? AF_INET : AF_INET6)
    request.putHeader(header)
    var result: [RoutingRule] = []
    try exchange(request, call: "RTM_GETRULE") { reply in
      let attributes = reply.attributes(after: MemoryLayout<fib_rule_hdr>.size)
      guard let owner = attributes[21], reply.native(at: owner.lowerBound, as: UInt8.self) == tag,
        let source = reply.address(attributes[2]), let port = attributes[23], let table = attributes[15],
        let priority = attributes[6]
      else { return }
      result.append(
        RoutingRule(
          source: source, sourcePort: reply.native(at: port.lowerBound), table: reply.native(at: table.lowerBound),
          priority: reply.native(at: priority.lowerBound), tag: tag))
    }
    return result
  }

  /// `ip route replace local default dev lo table TABLE proto TAG`: every address is this node's in that table.
  public mutating func addLocalDefaultRoute(
    isIPv4: Bool, table: UInt32, loopback: UInt32, tag: UInt8
  ) throws(SystemError) {
    try changeRoute(isIPv4, table, loopback, tag, Int32(RTM_NEWROUTE), NLM_F_CREATE | NLM_F_REPLACE, "RTM_NEWROUTE")
  }

  /// - Throws: ESRCH when there is none.
  public mutating func removeLocalDefaultRoute(
    isIPv4: Bool, table: UInt32, loopback: UInt32, tag: UInt8
  ) throws(SystemError) {
    try changeRoute(isIPv4, table, loopback, tag, Int32(RTM_DELROUTE), 0, "RTM_DELROUTE")
  }

  private mutating func changeRoute(
    _ isIPv4: Bool, _ table: UInt32, _ loopback: UInt32, _ tag: UInt8, _ type: Int32, _ flags: Int32, _ call: String
  ) throws(SystemError) {
    let request = NetlinkRequest(type: type, flags: NLM_F_ACK | flags)
    var header = rtmsg()
    header.rtm_family = UInt8(isIPv4 ? AF_INET : AF_INET6)
    header.rtm_protocol = tag
    header.rtm_scope = UInt8(RT_SCOPE_HOST.rawValue)
    header.rtm_type = UInt8(RTN_LOCAL)
    request.putHeader(header)
    request.put(4, loopback)
    request.put(15, table)
    do {
      try exchange(request, call: call)
    } catch {
      throw error.on("local default route in table \(table)")
    }
  }
}
