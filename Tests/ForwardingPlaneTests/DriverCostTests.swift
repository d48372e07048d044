// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Handoff
import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// What a packet costs on its whole way through a distributor, at tc and at the driver.
@Suite(.serialized)
struct DriverCostTests {
  private struct Setting: Sendable {
    var name: String
    var hook: ForwardingHook
    /// Of the switch's port to the distributor.
    var port: [String]
    /// Without an entry the packet ends at the distributor: what the rest of the way costs is the difference.
    var forwards = true
    var attachment = TrafficAttachment.auto

    static let forDriver = ["tx", "off", "gro", "on"]
    static let all = [
      Setting(name: "ended at tc, usual settings", hook: .tc, port: [], forwards: false),
      Setting(name: "forwarded at tc, usual settings", hook: .tc, port: []),
      Setting(
        name: "ended at tc by a filter, usual settings", hook: .tc, port: [], forwards: false, attachment: .clsact),
      Setting(name: "forwarded at tc by a filter, usual settings", hook: .tc, port: [], attachment: .clsact),
      Setting(name: "ended at tc, settings for the driver", hook: .tc, port: forDriver, forwards: false),
      Setting(name: "forwarded at tc, settings for the driver", hook: .tc, port: forDriver),
      Setting(name: "passed by the driver, ended at tc", hook: .xdp, port: forDriver, forwards: false),
      Setting(name: "forwarded at the driver", hook: .xdp, port: forDriver),
    ]
  }

  /// A client, a distributor and a back-end on one switch.
  private final class Path: Sendable {
    let setting: Setting
    let network: SwitchedNetwork
    let plane: ForwardingPlane
    let socket: PacketSocket

    init(_ setting: Setting) throws {
      let network = try SwitchedNetwork(["client", "distributor", "backend"])
      if !setting.port.isEmpty { try network.bridge.run(["ethtool", "-K", "distributor"] + setting.port).checked() }
      // The switch knows where everybody is: it floods nothing.
      for (port, node) in zip(["client", "distributor", "backend"], network.nodes) {
        try network.bridge.run(["bridge", "fdb", "replace", "\(node.mac)", "dev", port, "master", "static"]).checked()
      }
      let (hook, attachment) = (setting.hook, setting.attachment)
      plane = try network.nodes[1].namespace.perform {
        try ForwardingPlane.attach(
          interface: "eth0",
          configuration: .init(capacity: 64, localMark: 1, hook: hook, attachment: attachment))
      }
      try plane.setServices([Addresses.service4])
      if setting.forwards { try plane.flows.insert(Addresses.flow4, .forwarding(to: network.nodes[2].mac)) }
      socket = try network.nodes[0].namespace.perform {
        var netlink = try NetlinkSocket(.route)
        guard let interface = try netlink.interface(named: "eth0") else {
          throw SystemError("find", "eth0", errno: ENODEV)
        }
        return try PacketSocket(interface: interface.index)
      }
      self.setting = setting
      self.network = network
    }

    /// Microseconds for each packet, until the distributor has seen the last one, and how many it never saw.
    func send(_ packet: [UInt8], times: Int) throws -> (microseconds: Double, lost: Int) {
      let mac = network.nodes[1].mac
      return try network.nodes[0].namespace.perform {
        // One processor does everything: a softirq's work is in the time too.
        _ = clinux_pin_thread(0)
        let before = self.plane.counters().total
        let started = MonotonicTime.now()
        // In groups that every queue on the way holds.
        for _ in 0..<times / 50 {
          for _ in 0..<50 { _ = try self.socket.send(packet.span, to: mac) }
          sched_yield()
        }
        var seen = self.plane.counters().total - before
        let deadline = MonotonicTime.now() + 20_000_000
        while seen < times, MonotonicTime.now() < deadline {
          sched_yield()
          seen = self.plane.counters().total - before
        }
        let time = MonotonicTime.now() - started
        return (Double(time) / Double(times) / 1000, times - Int(seen))
      }
    }

    func arrived() throws -> Int {
      let shown = try network.nodes[2].namespace.run(["ip", "-s", "link", "show", "dev", "eth0"]).checked().output
      let lines = shown.split(separator: "\n")
      guard let heading = lines.firstIndex(where: { $0.contains("RX:") }) else { return 0 }
      return Int(lines[heading + 1].split(separator: " ")[1]) ?? 0
    }
  }

  /// All are up at once and measured in turn, in runs so short that some are not disturbed by other load. The tenth best of
  /// a hundred is printed as a line that begins with MEASURED.
  @Test func aPacketsWholeWay() throws {
    let (packets, rounds) = (1000, 100)
    let paths = try Setting.all.map { try Path($0) }
    let before = try paths.map { try $0.arrived() }
    let packet = Frame.tcp(Addresses.flow4, .ack).ipPacket
    var times = paths.map { _ in [Double]() }
    for round in 0..<rounds {
      for step in paths.indices {
        let index = (step + round) % paths.count
        let run = try paths[index].send(packet, times: packets)
        if run.lost == 0 { times[index].append(run.microseconds) }
      }
    }
    for (index, path) in paths.enumerated() {
      let arrived = try path.arrived() - before[index]
      let time = try #require(times[index].sorted().dropFirst(rounds / 10 - 1).first)
      print("MEASURED a packet \(path.setting.name): \((time * 100).rounded() / 100) us, \(arrived) arrived")
      if path.setting.forwards {
        #expect(arrived >= packets * rounds * 9 / 10, "\(path.setting.name)")
        let atDriver = path.plane.driver.counters()[.forwarded]
        #expect(path.setting.hook == .xdp ? atDriver > 0 : atDriver == 0)
      }
    }
  }
}
