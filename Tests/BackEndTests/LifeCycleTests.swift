// SPDX-License-Identifier: Apache-2.0

import BackEnd
import BackEndCore
import ControlProtocol
import Glibc
import Handoff
import Lab
import LinuxKernel
import Logging
import Telemetry
import Testing
import Wire

/// What the agent puts into a node, and that nothing of it stays.
@Suite(.serialized) struct LifeCycleTests {
  /// Everything that the agent may change, as the standard tools show it.
  private func configuration(of network: TestNetwork) throws -> String {
    let script = """
      for i in eth0 lo; do tc qdisc show dev $i; tc filter show dev $i ingress; tc filter show dev $i egress; done
      ip address show | grep inet; ip -4 rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all
      cd /proc/sys/net/ipv4/conf; grep . all/arp_ignore all/arp_announce all/rp_filter */arp_ignore */arp_announce */rp_filter
      """
    // Link-local addresses and what belongs to them settle in their own time (duplicate address detection).
    let lines = try network.node.run(["sh", "-c", script]).checked().output.split(separator: "\n")
    let programs = try network.node.expressPrograms()
    return programs.joined(separator: "\n")
      + lines.filter { !$0.contains("fe80") && !$0.contains("ff00::/8") }.joined(separator: "\n")
  }

  /// The configuration once the links are up.
  private func settledConfiguration(of network: TestNetwork) throws -> String {
    let show = ["ip", "link", "show", "dev", "eth0"]
    #expect(try eventually { try network.node.run(show).checked().output.contains("state UP") })
    return try configuration(of: network)
  }

  @Test(arguments: ServeMode.both) func aStopLeavesNothing(_ mode: ServeMode) throws {
    let network = try TestNetwork()
    try network.node.perform { try Sysctl.write("net/ipv4/conf/eth0/rp_filter", "2") }
    let before = try settledConfiguration(of: network)
    do {
      let bench = try AgentBench(mode, network: network)
      let server = try ScriptedServer(network) { connection in _ = try? connection.receiveAll() }
      #expect(bench.cluster.isReady())
      let during = try configuration(of: network)
      #expect(during.contains("10.88.1.100/32 scope host lo:handoff") || during.contains("10.88.1.100/32"), "\(during)")
      #expect(during.contains("fd88:1::100/128"))
      #expect(during.contains("eth0/rp_filter:0"))
      #expect(during.contains("all/arp_ignore:1"))
      #expect(during.contains("ipproto tcp sport 8080"))
      #expect(during.contains("handoff_serve") == (mode == .direct))
      let client = try bench.connect()
      try client.send("GET / HTTP/1.1\r\n\r\n")
      #expect(eventually { bench.cluster.read { $0.accepted.count == 1 } })
      // Draining waits for the open connection and takes no new one.
      bench.agent.stop(draining: 60)
      #expect(bench.agent.health() == .draining)
      #expect(eventually { bench.cluster.read { $0.state == .draining } })
      let second = try bench.connect()
      try second.send("GET / HTTP/1.1\r\n\r\n")
      #expect(eventually { bench.cluster.read { $0.refused.map(\.1) == [.draining] } })
      try client.shutdownWriting()
      #expect(try client.receiveAll().isEmpty, "it ends in the normal way while draining")
      bench.agent.join()
      _ = server
    }
    let after = try configuration(of: network)
    #expect(after == before)
  }

  @Test func addressesComeAndGoWithTheirDistributor() throws {
    let bench = try AgentBench()
    let server = try ScriptedServer(bench.network) { connection in _ = try? connection.receiveAll() }
    #expect(bench.cluster.isReady())
    let ipv4 = TestNetwork.service(isIPv4: true)
    let client = try bench.connect()
    try client.send("GET / HTTP/1.1\r\n\r\n")
    #expect(eventually { bench.cluster.read { $0.accepted.count == 1 } })
    func present(_ address: IPAddress) throws -> Bool {
      try bench.network.node.perform {
        var netlink = try NetlinkSocket(.route)
        return try netlink.addresses().contains { $0.address == address }
      }
    }
    bench.cluster.serve([])
    #expect(try eventually { try !present(TestNetwork.serviceIPv6) })
    #expect(try present(ipv4.address), "a connection is open on it")
    try client.shutdownWriting()
    #expect(try client.receiveAll().isEmpty)
    #expect(try eventually { try !present(ipv4.address) })
    bench.cluster.serve([ipv4])
    #expect(try eventually { try present(ipv4.address) })
    // Taken away by somebody: put back.
    try bench.network.node.run(["ip", "address", "del", "\(ipv4.address)/32", "dev", "lo"]).checked()
    #expect(try eventually { try present(ipv4.address) })
    _ = server
  }

  @Test func anAddressThatTheNodeHasIsLeftAlone() throws {
    let network = try TestNetwork()
    try network.node.run(["ip", "address", "add", "\(TestNetwork.serviceIPv4)/24", "dev", "eth0"]).checked()
    do {
      let bench = try AgentBench(network: network)
      let server = try ScriptedServer(network) { _ in }
      #expect(bench.cluster.isReady())
      let shown = try network.node.run(["ip", "address", "show", "dev", "lo"]).checked().output
      #expect(!shown.contains("\(TestNetwork.serviceIPv4)"))
      #expect(shown.contains("\(TestNetwork.serviceIPv6)"))
      _ = server
    }
    let shown = try network.node.run(["ip", "address", "show", "dev", "eth0"]).checked().output
    #expect(shown.contains("\(TestNetwork.serviceIPv4)/24"), "what was there before stays")
  }

  @Test func aStartAfterAKillCleansUp() async throws {
    let network = try TestNetwork()
    let before = try settledConfiguration(of: network)
    let path = network.node.path
    let state = AgentBench.configuration().stateDirectory
    await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String, state = state as String] in
      try NetworkNamespaceEntry.enter(path)
      var configuration = AgentBench.configuration()
      configuration.stateDirectory = state
      _ = try BackEndRole.start(configuration, metrics: MetricsRegistry(), logger: AgentBench.logger)
      kill(getpid(), SIGKILL)
      _ = eventually { false }
    }
    // As an agent that serves leaves it. Not before the kill: one without services removes it when it sees it.
    try network.node.perform {
      var netlink = try NetlinkSocket(.route)
      let lo = try #require(try netlink.interface(named: "lo"))
      try netlink.add(TestNetwork.serviceIPv4, to: lo, tag: NetlinkTag.backEnd)
    }
    let left = try configuration(of: network)
    #expect(left.contains("\(TestNetwork.serviceIPv4)/32"))
    #expect(left.contains("sport 8080"))
    #expect(left.contains("all/arp_ignore:1"))
    do {
      let bench = try AgentBench(network: network, services: [])
      let after = try configuration(of: network)
      #expect(!after.contains("\(TestNetwork.serviceIPv4)/32"))
      #expect(bench.agent.health() != .ready)
    }
    let after = try configuration(of: network)
    #expect(after == before)
  }

  @Test func whatIsMissingIsNamed() throws {
    let network = try TestNetwork()
    func failure(_ change: (inout BackEndConfiguration) -> Void = { _ in }) throws -> StartupFailure? {
      var configuration = AgentBench.configuration()
      change(&configuration)
      return try network.node.perform { [configuration] in
        do {
          let role = try BackEndRole.start(configuration, metrics: MetricsRegistry(), logger: AgentBench.logger)
          role.stop(draining: 0)
          role.join()
          return nil
        } catch let error as StartupFailure {
          return error
        }
      }
    }
    #expect(try failure()?.problem == nil)
    let address = try failure { $0.internalAddress = IPAddress("192.0.2.77")! }
    #expect(address?.problem.contains("192.0.2.77 is not an address of this node") == true)
    let holder = try network.node.perform { try StreamSocket.listen(at: Endpoint(TestNetwork.nodeIPv4, 7801)) }
    #expect(try failure()?.problem.contains("10.88.0.2:7801 is in use") == true)
    _ = consume holder
    let lock = try network.node.perform { try AbstractLock("handoff/back-end") }
    #expect(try failure()?.problem.contains("Another back-end agent") == true)
    _ = consume lock
    try network.node.run(["ip", "link", "set", "lo", "down"]).checked()
    #expect(try failure()?.remedy.contains("ip link set lo up") == true)
  }
}
