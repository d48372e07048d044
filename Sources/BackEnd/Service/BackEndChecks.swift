// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ForwardingPlane
import Glibc
import LinuxKernel
public import NodeChecks
import Telemetry
import Wire

/// What a server node needs, looked at and tried without starting an agent. Leaves nothing behind and disturbs no agent that
/// runs. The agent goes by the same code when it starts.
public enum BackEndChecks {
  /// What does not take a namespace of its own: settings, ports, the web server's listener.
  public static func findings(_ configuration: BackEndConfiguration) -> [DoctorFinding] {
    let isRunning = AbstractLock.isHeld(StartupChecks.lockName)
    var findings = [
      DoctorFinding(
        .backEnd, "agent", .ok(isRunning ? "one runs in this network namespace" : "none runs here yet"))
    ]
    do throws(StartupFailure) {
      let interface = try NodeNetwork.findInterface(configuration)
      findings.append(
        DoctorFinding(.backEnd, "internal address", .ok("\(configuration.internalAddress) at \(interface.name)")))
      findings.append(settings(interface: interface.name))
    } catch {
      findings.append(DoctorFinding(.backEnd, "internal address", .missing(error)))
    }
    findings.append(stateDirectory(configuration.stateDirectory))
    if !isRunning { findings.append(handoffPort(configuration)) }
    if configuration.serve != .repair {
      findings.append(types(configuration))
      findings += DirectSetup.settings.map { direct($0, configuration) }
    }
    return findings + listeners(configuration)
  }

  /// What the agent writes while it runs; the values are put back at its end.
  private static func settings(interface: String) -> DoctorFinding {
    let keys = NodeNetwork.settings(interface: interface).map(\.key)
    let obstacle = keys.lazy.compactMap(Sysctl.writingObstacle).first
    return DoctorFinding(
      .backEnd, "arp_ignore, arp_announce, rp_filter", found: "the agent can set them",
      problem: obstacle.map { "The agent cannot set what it needs: \($0)" }, isNeeded: true, loss: "",
      remedy: "Start as root or with CAP_NET_ADMIN, with /proc/sys writable for it")
  }

  private static func stateDirectory(_ path: String) -> DoctorFinding {
    // The agent makes what is not there.
    var existing = path
    while !SystemFile.exists(existing), let slash = existing.lastIndex(of: "/") {
      existing = slash == existing.startIndex ? "/" : String(existing[..<slash])
    }
    return DoctorFinding(
      .backEnd, "state directory", found: path,
      problem: SystemFile.isWritable(existing) ? nil : "The agent cannot keep its state in \(path)", isNeeded: true,
      loss: "", remedy: "Make \(existing) writable for this user")
  }

  private static func handoffPort(_ configuration: BackEndConfiguration) -> DoctorFinding {
    let endpoint = Endpoint(configuration.internalAddress, configuration.handoffPort)
    do throws(StartupFailure) {
      _ = try StartupChecks.listen(at: endpoint)
      return DoctorFinding(.backEnd, "handoff port", .ok("\(endpoint) is free"))
    } catch {
      return DoctorFinding(.backEnd, "handoff port", .missing(error))
    }
  }

  static let relayed = "connections are relayed by the agent instead of going to the web server itself"

  private static func types(_ configuration: BackEndConfiguration) -> DoctorFinding {
    let obstacle = ServePlane.typesObstacle()
    return DoctorFinding(
      .backEnd, "kernel types (BTF)", found: "readable", problem: obstacle?.problem,
      isNeeded: configuration.serve == .direct, loss: relayed, remedy: obstacle?.remedy ?? "")
  }

  private static func direct(_ setting: String, _ configuration: BackEndConfiguration) -> DoctorFinding {
    let obstacle = DirectSetup.obstacle(setting: setting)
    return DoctorFinding(
      .backEnd, "net.ipv4.\(setting)", found: (try? Sysctl.read("net/ipv4/\(setting)")) ?? "",
      problem: obstacle?.problem, isNeeded: configuration.serve == .direct, loss: relayed,
      remedy: obstacle?.remedy ?? "")
  }

  /// The web server may be started later: the agent waits for it.
  private static func listeners(_ configuration: BackEndConfiguration) -> [DoctorFinding] {
    let found: [TCPListener]
    do throws(SystemError) {
      var diagnostics = try NetlinkSocket(.socketDiagnostics)
      found = try diagnostics.tcpListeners(port: configuration.serverPort)
    } catch {
      return [
        DoctorFinding(
          .backEnd, "web server",
          .missing(
            "Listeners cannot be looked at: \(error)",
            remedy: "Use a kernel with CONFIG_INET_DIAG and CONFIG_INET_TCP_DIAG"))
      ]
    }
    return [true, false].map { isIPv4 in
      let server = configuration.server(isIPv4: isIPv4)
      let check = isIPv4 ? "web server, IPv4" : "web server, IPv6"
      guard found.contains(where: { $0.takes(server.address) }) else {
        return DoctorFinding(
          .backEnd, check,
          .lost(
            "Nothing listens at \(server)",
            loss: "the node takes no \(isIPv4 ? "IPv4" : "IPv6") connections until something does",
            remedy: "Start the web server, listening at \(server) or at all addresses"))
      }
      let judgement = ListenerJudgement.judge(found, services: [], server: server)
      return DoctorFinding(
        .backEnd, check, found: "listens at port \(server.port)",
        problem: configuration.serve == .repair ? nil : judgement.obstacle,
        isNeeded: configuration.serve == .direct, loss: relayed,
        remedy: "Make it listen without Multipath TCP")
    }
  }
}

extension DoctorFinding.Verdict {
  static func missing(_ failure: StartupFailure) -> Self { .missing(failure.problem, remedy: failure.remedy) }
}
