// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Testing
import Wire

@testable import NodeChecks

@Suite struct HostChecksTests {
  static let good = HostChecks.InterfaceFacts(
    name: "eth0", isUp: true, mtu: 1500, hasLargeReceiveOffload: false, longestJoinedPacket: 65_536)

  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var change: @Sendable (inout HostChecks.InterfaceFacts) -> Void
    /// Checks that are not ok, with their state.
    var wanted: [String]
    var testDescription: String { name }
  }

  @Test(arguments: [
    Case(name: "all is well", change: { _ in }, wanted: []),
    Case(name: "down", change: { $0.isUp = false }, wanted: ["missing interface eth0"]),
    Case(name: "short packets", change: { $0.mtu = 1499 }, wanted: ["lost MTU of eth0"]),
    Case(name: "jumbo frames", change: { $0.mtu = 9000 }, wanted: []),
    Case(name: "LRO", change: { $0.hasLargeReceiveOffload = true }, wanted: ["lost large receive offload"]),
    Case(name: "big TCP", change: { $0.longestJoinedPacket = 65_537 }, wanted: ["lost joined segments"]),
    Case(name: "a kernel without big TCP", change: { $0.longestJoinedPacket = nil }, wanted: []),
  ])
  func interface(_ example: Case) {
    var facts = Self.good
    example.change(&facts)
    func bad(forwards: Bool) -> [String] {
      HostChecks.interface(facts, forwards: forwards).filter { $0.verdict.word != "ok" }
        .map { "\($0.verdict.word) \($0.check)" }
    }
    #expect(bad(forwards: true) == example.wanted)
    // What is about forwarding is the distributor's business alone.
    #expect(bad(forwards: false) == example.wanted.filter { $0.hasSuffix("eth0") })
  }

  @Test(arguments: [
    ("a neighbour", "eth0", 1500, true, false, "ok"), ("this node", "lo", 65_536, true, true, "ok"),
    ("behind a router", "eth0", 1500, false, false, "ok"), ("on another interface", "eth1", 1500, true, false, "ok"),
    ("behind a narrow way", "eth0", 1308, false, false, "ok"),
    ("behind a way too narrow for IPv6", "eth0", 1307, false, false, "lost"),
    ("a neighbour on a narrow link", "eth0", 1400, true, false, "ok"),
  ])
  func peer(_ example: (name: String, interface: String, mtu: Int, isOnLink: Bool, isLocal: Bool, word: String)) {
    let route = HostChecks.PeerRoute(
      interface: example.interface, mtu: example.mtu, isOnLink: example.isOnLink, isLocal: example.isLocal)
    let finding = HostChecks.peer(IPAddress(ipv4: 0x0a00_0001), route, interface: "eth0", overhead: 28)
    #expect(finding.verdict.word == example.word, "\(example.name): \(finding)")
  }

  @Test func translator() {
    #expect(HostChecks.translator("1").verdict.word == "ok")
    #expect(HostChecks.translator(nil).verdict.word == "ok")
    #expect(HostChecks.translator("0").verdict.word == "lost")
  }

  @Test func clock() {
    #expect(HostChecks.clock(.synchronised).verdict.word == "ok")
    #expect(HostChecks.clock(.alone).verdict.word == "lost")
    #expect(HostChecks.clock(.unknown).verdict.word == "lost")
  }
}
