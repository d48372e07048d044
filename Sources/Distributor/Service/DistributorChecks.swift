// SPDX-License-Identifier: Apache-2.0

import ForwardingPlane
import LinuxKernel
import Logging
public import NodeChecks
import Telemetry
import Wire

/// What a distributor needs, looked at and tried without starting one. Leaves nothing behind and disturbs no distributor that
/// runs. The role goes by the same code when it starts.
public enum DistributorChecks {
  /// What does not take a namespace of its own: interface and addresses, and who is in the programs' place.
  public static func findings(_ configuration: DistributorConfiguration) -> [DoctorFinding] {
    let isRunning = AbstractLock.isHeld(DistributorService.lockName)
    var findings = [
      DoctorFinding(
        .distributor, "distributor", .ok(isRunning ? "one runs in this network namespace" : "none runs here yet"))
    ]
    do throws(StartupFailure) {
      _ = try DistributorService.validate(configuration)
      let services = configuration.services.map { "\($0)" }.joined(separator: ", ")
      findings.append(
        DoctorFinding(.distributor, "served addresses", .ok("\(services) at \(configuration.interface)")))
    } catch {
      findings.append(DoctorFinding(.distributor, "served addresses", .missing(error.problem, remedy: error.remedy)))
    }
    findings.append(place(configuration.interface))
    findings.append(driver(configuration))
    return findings
  }

  /// Where packets of handed-off connections would be forwarded.
  private static func driver(_ configuration: DistributorConfiguration) -> DoctorFinding {
    let check = "driver of \(configuration.interface)"
    if configuration.forwarding == .tc {
      return DoctorFinding(.distributor, check, .ok("not used (--forwarding-hook tc)"))
    }
    do throws(ForwardingPlaneError) {
      let obstacle = try DriverPart.obstacle(
        interface: configuration.interface, ForwardingHook(configuration.forwarding))
      guard let obstacle else {
        return DoctorFinding(
          .distributor, check, .ok("runs XDP programs; packets of handed-off connections are forwarded there"))
      }
      // What `auto` chooses is nobody's loss.
      if configuration.forwarding == .auto {
        return DoctorFinding(.distributor, check, .ok("not used, packets are forwarded at tc: \(obstacle)"))
      }
      return DoctorFinding(
        .distributor, check, .missing("Packets cannot be forwarded there: \(obstacle)", remedy: obstacle.remedy))
    } catch {
      return DoctorFinding(.distributor, check, .missing("\(error)", remedy: "Name the interface with --interface"))
    }
  }

  private static func driverProgram(_ wanted: ForwardingMode) -> DoctorFinding {
    do throws(DriverObstacle) {
      try DriverPart.tryLoading()
      return DoctorFinding(.distributor, "driver program", .ok("it was loaded"))
    } catch {
      return DoctorFinding(
        .distributor, "driver program", found: "", problem: "It cannot be loaded: \(error)", isNeeded: wanted == .xdp,
        loss: "packets of handed-off connections are forwarded at tc whatever the driver can do",
        remedy: error.remedy)
    }
  }

  /// Bytes that a tunnel's outer headers take.
  public static func tunnelHeaders(overIPv4: Bool) -> Int { Tunnel.overhead(overIPv4: overIPv4) }

  /// Whoever is where the forwarding program belongs.
  private static func place(_ interface: String) -> DoctorFinding {
    let check = "tc ingress of \(interface)"
    do throws(ForwardingPlaneError) {
      switch try ForwardingPlane.occupant(interface: interface) {
      case .nobody: return DoctorFinding(.distributor, check, .ok("free"))
      case .plane: return DoctorFinding(.distributor, check, .ok("a forwarding program whose flows can be taken over"))
      case .strange(let obstacle):
        return DoctorFinding(
          .distributor, check,
          .lost(
            "Flows of the forwarding program there cannot be taken over (\(obstacle))",
            loss: "handed-off connections through this node end when a distributor is started now",
            remedy: "Let them end first, or start the release that made them"))
      }
    } catch {
      return DoctorFinding(.distributor, check, .missing("\(error)", remedy: "Remove what is in the way"))
    }
  }

  /// What is tried: programs, ring buffers, queues and rules are made as for a start.
  ///
  /// The calling thread must be in a `TrialNamespace`.
  public static func trials(_ configuration: DistributorConfiguration) -> [DoctorFinding] {
    let wanted = configuration.forwarding
    var configuration = configuration
    configuration.interface = TrialNamespace.interface
    // Its driver runs no programs.
    configuration.forwarding = .tc
    var findings: [DoctorFinding] = []
    do throws(StartupFailure) {
      let plane = try DistributorService.attachPlane(
        configuration, logger: Logger(label: "trial", factory: { _ in SwiftLogNoOpLogHandler() }))
      findings.append(
        DoctorFinding(
          .distributor, "forwarding program",
          .ok("it was loaded, attached and removed, with a table of \(configuration.maximumFlows) flows")))
      findings.append(driverProgram(wanted))
      if configuration.packets != .queue { findings.append(rings(configuration, plane.handshake)) }
      if configuration.sendsPackets {
        findings.append(packetSockets(interface: TrialNamespace.interfaceIndex))
        if configuration.packets != .queue, configuration.handshake != .user {
          findings.append(kernelHandoff(plane, interface: TrialNamespace.interfaceIndex))
        }
      }
      try? plane.detach()
    } catch {
      findings.append(
        DoctorFinding(.distributor, "forwarding program", .missing(error.problem, remedy: error.remedy)))
    }
    // Where there are rings they are needed by nobody.
    let needsQueue = configuration.packets == .queue || findings.contains { !$0.isOK }
    if configuration.packets != .ring { findings += queues(configuration, isNeeded: needsQueue) }
    findings.append(rawSocket())
    return findings
  }

  private static func rings(
    _ configuration: DistributorConfiguration, _ handshake: HandshakeTable
  ) -> DoctorFinding {
    do throws(ForwardingPlaneError) {
      for worker in 0..<configuration.workers { _ = try Intake.openRing(worker: worker, handshake) }
      return DoctorFinding(
        .distributor, "packet rings", .ok("\(configuration.workers) of \(Intake.ringSize >> 20) MiB were made"))
    } catch {
      return DoctorFinding(
        .distributor, "packet rings", found: "", problem: "They cannot be made: \(error)",
        isNeeded: configuration.packets == .ring,
        loss: "clients' packets come to user space by NFQUEUE, which takes more processor time",
        remedy: "Use a kernel with BPF ring buffers (5.8) and memory for them, or fewer --workers")
    }
  }

  private static func queues(_ configuration: DistributorConfiguration, isNeeded: Bool) -> [DoctorFinding] {
    let loss = "packets could not come by NFQUEUE (--packets queue), should there be no rings"
    var findings: [DoctorFinding] = []
    do throws(StartupFailure) {
      for worker in 0..<configuration.workers {
        _ = try Intake.openQueue(configuration.firstQueue + UInt16(worker))
      }
      findings.append(
        DoctorFinding(.distributor, "NFQUEUE", .ok("\(configuration.workers) were opened and configured")))
    } catch {
      findings.append(
        DoctorFinding(
          .distributor, "NFQUEUE", found: "", problem: error.problem, isNeeded: isNeeded, loss: loss,
          remedy: error.remedy))
    }
    var problem: String?
    do throws(SystemError) {
      try DistributorService.packetFilterRules(configuration).install()
    } catch {
      problem = "They cannot be set: \(error)"
    }
    findings.append(
      DoctorFinding(
        .distributor, "netfilter rules", found: "they were set, in the raw table, with the NFQUEUE target",
        problem: problem, isNeeded: isNeeded, loss: loss,
        remedy:
          "Install the package iptables, and use a kernel with CONFIG_NETFILTER_XT_TARGET_NFQUEUE and the raw table"))
    PacketFilterRules.remove()
    return findings
  }

  private static func rawSocket() -> DoctorFinding {
    do throws(SystemError) {
      _ = try RawPacketSender()
      return DoctorFinding(.distributor, "raw sockets", .ok("one of each family was opened"))
    } catch {
      return DoctorFinding(
        .distributor, "raw sockets",
        .missing("\(error)", remedy: "Run as root or with CAP_NET_RAW, on a kernel with IPv4 and IPv6"))
    }
  }
}

extension DoctorFinding {
  fileprivate var isOK: Bool { !isLost && !isMissing }
}
