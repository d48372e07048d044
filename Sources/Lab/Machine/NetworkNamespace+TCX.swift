// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

extension NetworkNamespace {
  /// What is attached by tcx, which `tc` does not show: a line for each program, in their order. Empty on a kernel without.
  public func expressPrograms(of interfaces: [String] = ["eth0", "lo"]) throws(LabError) -> [String] {
    do {
      return try perform {
        var netlink = try NetlinkSocket(.route)
        var lines: [String] = []
        for interface in interfaces {
          guard let index = try netlink.interface(named: interface)?.index else { continue }
          for (direction, isEgress) in [("ingress", false), ("egress", true)] {
            let hook = TCXHook(interface: index, isEgress: isEgress)
            guard (try? hook.programs()) != nil else { continue }
            lines += try hook.names().map { "tcx \(interface) \(direction) \($0)" }
          }
        }
        return lines
      }
    } catch {
      throw LabError("\(name): the programs at tcx cannot be listed: \(error)")
    }
  }
}
