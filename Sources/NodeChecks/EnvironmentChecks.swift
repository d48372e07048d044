// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// What shows without trying anything: capabilities, kernel version, programs, limits. Pure.
public enum EnvironmentChecks {
  public static let programs = ["iptables-restore", "ip6tables-restore"]

  /// Descriptors besides those of connections: listeners, control connections, BPF objects, logs.
  static let spareDescriptors: UInt64 = 256

  public static func findings(_ needs: NodeNeeds, _ facts: EnvironmentFacts) -> [DoctorFinding] {
    capabilities(needs, facts) + kernel(needs, facts) + programs(needs, facts) + descriptors(needs, facts)
  }

  private static func capabilities(_ needs: NodeNeeds, _ facts: EnvironmentFacts) -> [DoctorFinding] {
    var found: [DoctorFinding] = []
    func look(_ subject: DoctorFinding.Subject, _ list: [CapabilityNeed]) {
      for need in list {
        let finding = need.finding(subject, held: facts.capabilities)
        // A capability is told once, for the role that cannot do without it.
        if let index = found.firstIndex(where: { $0.check == need.name }) {
          if finding.isMissing && !found[index].isMissing { found[index] = finding }
        } else {
          found.append(finding)
        }
      }
    }
    if let backEnd = needs.backEnd { look(.backEnd, CapabilityNeed.all(backEnd)) }
    if needs.distributor != nil { look(.distributor, CapabilityNeed.distributor) }
    if let dispatcher = needs.dispatcher { look(.dispatcher, CapabilityNeed.all(dispatcher)) }
    return found
  }

  /// The oldest kernel whose interfaces are all there.
  private static let oldest = (major: 5, minor: 15)

  private static func kernel(_ needs: NodeNeeds, _ facts: EnvironmentFacts) -> [DoctorFinding] {
    guard needs.backEnd != nil || needs.distributor != nil else { return [] }
    let release = facts.kernelRelease
    let numbers = release.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
    let remedy = "Linux \(oldest.major).\(oldest.minor) or later is needed"
    let verdict: DoctorFinding.Verdict =
      if numbers.count != 2 {
        .lost(
          "The kernel's version '\(release)' is not understood", loss: "nobody knows whether it is new enough",
          remedy: remedy)
      } else if (numbers[0], numbers[1]) < (oldest.major, oldest.minor) {
        .missing("The kernel is Linux \(release)", remedy: remedy)
      } else {
        .ok("Linux \(release)")
      }
    return [DoctorFinding(.node, "kernel version", verdict)]
  }

  private static func programs(_ needs: NodeNeeds, _ facts: EnvironmentFacts) -> [DoctorFinding] {
    guard let distributor = needs.distributor else { return [] }
    let needed = [
      distributor.servesIPv4 ? "iptables-restore" : nil, distributor.servesIPv6 ? "ip6tables-restore" : nil,
    ].compactMap(\.self)
    return needed.map { name in
      DoctorFinding(
        .distributor, name, found: "installed",
        problem: facts.programs.contains(name)
          ? nil : "The distributor needs \(name), which is not in PATH or /usr/sbin",
        isNeeded: true, loss: "", remedy: "Install the package 'iptables'")
    }
  }

  private static func descriptors(_ needs: NodeNeeds, _ facts: EnvironmentFacts) -> [DoctorFinding] {
    guard let backEnd = needs.backEnd else { return [] }
    // One towards the client and one towards the web server.
    let needed = 2 * UInt64(backEnd.maximumConnections) + spareDescriptors
    let hard = facts.descriptors.hard
    let possible = (hard - min(hard, spareDescriptors)) / 2
    return [
      DoctorFinding(
        .backEnd, "open files", found: "at most \(hard)",
        problem: hard >= needed
          ? nil
          : "\(backEnd.maximumConnections) connections need \(needed) file descriptors, but the limit is \(hard), "
            + "enough for about \(possible)",
        isNeeded: false,
        loss: "more connections are refused where connections are relayed; those served directly take no descriptor",
        remedy: "Raise it (LimitNOFILE= of the service, or ulimit -Hn) or lower --max-connections")
    ]
  }
}
