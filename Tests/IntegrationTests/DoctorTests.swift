// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Lab
import LinuxKernel
import Testing
import Wire

extension IntegrationTests {
  /// `clusterctl doctor` on a machine of its own: a namespace with one interface.
  @Suite(.serialized)
  struct DoctorTests {
    struct Report: Decodable {
      struct Finding: Decodable, Hashable {
        var subject: String
        var check: String
        var state: String
        var found: String
        var loss: String?
        var remedy: String?
      }

      var canRun: Bool
      var missing: Int
      var findings: [Finding]

      enum CodingKeys: String, CodingKey {
        case missing, findings
        case canRun = "can_run"
      }

      /// All that is not ok: state and check. Nobody keeps a test machine's clock right, or raises its limits.
      var problems: [String] {
        findings.filter { $0.state != "ok" && !["clock", "open files"].contains($0.check) }
          .map { "\($0.state) \($0.check)" }
      }
    }

    private static let everything = [
      "--role", "dispatcher", "--role", "distributor", "--role", "back-end", "--port", "8080", "--address", "10.9.0.2",
      "--serve", "10.9.0.100", "--serve", "2001:db8:9::100",
    ]

    /// A namespace with eth0, served addresses and a web server's listeners; the body runs in the test's own namespace.
    private func onMachine(_ body: (NetworkNamespace) throws -> Void) throws {
      let run = try LabRun()
      defer { #expect(run.end() == []) }
      let machine = try run.makeNamespace("doc")
      let lines = [
        "ip link add eth0 type veth peer name other", "ip link set eth0 addrgenmode none", "ip link set eth0 up",
        "ip link set other addrgenmode none", "ip link set other up",
        "ip address add 10.9.0.2/24 dev eth0", "ip address add 10.9.0.100/32 dev eth0",
        "ip address add 2001:db8:9::100/128 dev eth0 nodad", "ip route add 10.8.0.0/16 via 10.9.0.1",
      ]
      for line in lines { try machine.run(line.split(separator: " ").map(String.init)).checked() }
      let ipv4 = try machine.perform { try StreamSocket.listen(at: Endpoint(IPAddress(ipv4: 0), 8080)) }
      let ipv6 = try machine.perform { try StreamSocket.listen(at: Endpoint(IPAddress(high: 0, low: 0), 8080)) }
      try body(machine)
      _ = ipv4.raw
      _ = ipv6.raw
    }

    /// - Parameter wrapper: a program and its options that start the doctor.
    private func examine(
      _ machine: NetworkNamespace, _ options: [String] = everything, wrapper: [String] = []
    ) throws -> Report {
      let doctor = [try LabTools.path(of: "clusterctl"), "doctor", "--json"]
      let result = try machine.run(wrapper + doctor + options)
      let report = try JSONDecoder().decode(Report.self, from: Data(result.standardOutput))
      #expect(result.status == .exited(report.missing == 0 ? 0 : 1), "\(result.errorOutput)")
      #expect(report.canRun == (report.missing == 0))
      return report
    }

    /// All that a process could leave in a namespace.
    private func state(of machine: NetworkNamespace) throws -> Set<String> {
      let commands = [
        "ls -R /sys/fs/bpf /run/handoff", "tc qdisc show", "tc filter show dev eth0 ingress",
        "tc filter show dev lo ingress", "ip rule", "ip -6 rule", "ip address", "ip route show table all",
        "iptables-save", "ip6tables-save", "sysctl -a --pattern net.ipv4.(conf|tcp_)",
      ]
      var lines: Set<String> = []
      for command in commands {
        let output = try machine.run(command.split(separator: " ").map(String.init)).output
        // Comments have the time; the kernel lets addresses age.
        for line in output.split(separator: "\n") where !line.hasPrefix("#") && !line.contains("_lft ") {
          lines.insert("\(command): \(line)")
        }
      }
      for line in try machine.expressPrograms() { lines.insert(line) }
      return lines
    }

    private func expectUnchanged(_ machine: NetworkNamespace, _ before: Set<String>) throws {
      let after = try state(of: machine)
      #expect(after.symmetricDifference(before) == [])
    }

    @Test func everythingIsThereAndNothingIsLeftBehind() throws {
      try onMachine { machine in
        let before = try state(of: machine)
        let report = try examine(machine, Self.everything + ["--peer", "10.9.0.7", "--peer", "10.8.0.1"])
        #expect(report.problems == [], "\(report.findings.filter { $0.state != "ok" })")
        try expectUnchanged(machine, before)
        let checks = Set(report.findings.map(\.check))
        for check in [
          "forwarding program", "packet rings", "NFQUEUE", "netfilter rules", "TCP_REPAIR", "IP_TRANSPARENT",
          "SOCK_DESTROY", "membarrier", "tunnels' end", "serving directly", "net.ipv4.tcp_syncookies",
          "handoffs by packet", "handoffs by the kernel",
        ] {
          #expect(checks.contains(check), "\(check) is not among \(checks)")
        }
        #expect(report.findings.filter { $0.check == "handoffs by packet" }.count == 2, "both roles'")
        let ways = report.findings.filter { $0.check.hasPrefix("peer") }.map(\.found)
        #expect(ways.first == "a neighbour on eth0")
        #expect(ways.last?.hasPrefix("through a tunnel over eth0") == true)
      }
    }

    @Test func aSettingIsLost() throws {
      try onMachine { machine in
        try machine.run(["sysctl", "-w", "net.ipv4.tcp_syncookies=0"]).checked()
        #expect(try examine(machine).problems == ["lost net.ipv4.tcp_syncookies"])
        // What must be direct cannot do without.
        #expect(
          try examine(machine, Self.everything + ["--serve-mode", "direct"]).problems
            == ["missing net.ipv4.tcp_syncookies"])
        // Who relays anyway does not care.
        #expect(try examine(machine, Self.everything + ["--serve-mode", "repair"]).problems == [])
      }
    }

    @Test func withoutCapabilitiesNothingRuns() throws {
      try onMachine { machine in
        let before = try state(of: machine)
        let report = try examine(machine, wrapper: ["setpriv", "--bounding-set=-all", "--inh-caps=-all"])
        for capability in ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "CAP_PERFMON"] {
          #expect(report.problems.contains("missing \(capability)"), "\(report.problems)")
        }
        #expect(report.problems.contains("lost trials"))
        #expect(report.findings.allSatisfy { $0.state == "ok" || $0.remedy?.isEmpty == false })
        try expectUnchanged(machine, before)
        // The dispatcher alone needs none of them.
        let alone = try examine(
          machine, ["--role", "dispatcher"], wrapper: ["setpriv", "--bounding-set=-all", "--inh-caps=-all"])
        #expect(alone.problems == [])
      }
    }

    /// Without CAP_SYS_ADMIN nobody can tell whose programs are at tcx.
    @Test func programsThatCannotBeLookedAtAreInTheWay() throws {
      try onMachine { machine in
        let wrapper = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
        func place(_ report: Report) -> Report.Finding? { report.findings.first { $0.check == "tc ingress of eth0" } }
        #expect(place(try examine(machine, wrapper: wrapper))?.state == "ok")
        let isThere = try machine.perform {
          var netlink = try NetlinkSocket(.route)
          let hook = TCXHook(interface: try netlink.interface(named: "eth0")?.index ?? 0)
          guard (try? hook.programs()) != nil else { return false }
          // return -1
          let program = try TCXHook.load([0xffff_ffff_0000_00b7, 0x95], name: "stranger")
          try hook.attach(program.raw, .last)
          return true
        }
        guard isThere else { return }
        #expect(try machine.expressPrograms() == ["tcx eth0 ingress stranger"])
        let blind = place(try examine(machine, wrapper: wrapper))
        #expect(blind?.state == "missing" && blind?.found.contains("tcx") == true, "\(String(describing: blind))")
        #expect(place(try examine(machine))?.state == "ok")
      }
    }

    @Test func whatIsWrongAroundTheNode() throws {
      try onMachine { machine in
        try machine.run(["ip", "link", "set", "eth0", "mtu", "1300"]).checked()
        #expect(
          try examine(machine, Self.everything + ["--peer", "10.8.0.1", "--peer", "10.7.0.1"]).problems
            == ["lost MTU of eth0", "lost peer 10.8.0.1", "missing peer 10.7.0.1"])
        try machine.run(["ip", "link", "set", "eth0", "mtu", "1500"]).checked()
        let taken = try machine.perform { try StreamSocket.listen(at: Endpoint(IPAddress(ipv4: 0), 7001)) }
        try machine.run(["ip", "address", "del", "10.9.0.100/32", "dev", "eth0"]).checked()
        let problems = try examine(machine).problems
        #expect(problems == ["missing served addresses", "missing handoff port"])
        _ = taken.raw
      }
    }

    @Test func wrongOptionsAreToldFromProblems() throws {
      for options in [[], ["--role", "back-end"], ["--role", "king"], ["--role", "dispatcher", "--peer", "x"]] {
        let result = try Command.run([try LabTools.path(of: "clusterctl"), "doctor"] + options)
        #expect(result.status == .exited(2), "\(options): \(result.errorOutput)")
      }
    }

    /// A node that runs is neither hindered nor taken for an obstacle.
    @Test func besideARunningNode() throws {
      try FailureCluster.with(FailureCluster.plan([.nginx])) { cluster in
        try cluster.getAllPages()
        let options = [
          ("fe1", ["--role", "distributor", "--serve", "\(cluster.endpoints[0].address)"]),
          ("be1", ["--role", "back-end", "--port", "\(cluster.plan.serverPort)"]),
        ]
        for (name, options) in options {
          let node = try cluster.node(name)
          let before = try state(of: node.namespace)
          let report = try examine(node.namespace, options + ["--address", "\(node.address.ipv4)"])
          #expect(report.problems == [], "\(report.findings.filter { $0.state != "ok" })")
          #expect(report.findings.contains { $0.found == "one runs in this network namespace" })
          try expectUnchanged(node.namespace, before)
        }
        try cluster.getAllPages()
      }
    }
  }
}
