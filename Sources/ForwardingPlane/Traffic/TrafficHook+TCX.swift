// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxKernel

/// The place among the programs at tcx, which tell by their names what they are. Those of others stay where they are.
extension TrafficHook {
  /// A program at tcx, and where it belongs if it is one of ours.
  struct Neighbour: Sendable {
    var id: UInt32
    var program: SharedDescriptor
    var place: Place?
  }

  /// How often somebody else may change the programs while this process looks at them.
  private static let attempts = 16

  /// All at this hook, in their order.
  func programs() throws(ForwardingPlaneError) -> [Neighbour] {
    do {
      return try neighbours(try express.programs().ids)
    } catch {
      throw explain(error)
    }
  }

  private func neighbours(_ ids: [UInt32]) throws(SystemError) -> [Neighbour] {
    var found: [Neighbour] = []
    for id in ids {
      guard let program = try KernelProgram(id) else { continue }
      let place = Place.allCases.first { $0.isEgress == self.place.isEgress && $0.programs.contains(program.name) }
      found.append(Neighbour(id: id, program: program.program, place: place))
    }
    return found
  }

  /// What was left at this place at tcx; empty where the kernel has no tcx or this process may not look.
  func leftovers() throws(ForwardingPlaneError) -> [Neighbour] {
    do {
      return try neighbours(try express.programs().ids).filter { $0.place == place }
    } catch {
      if error.errno == EINVAL || error.errno == EPERM { return [] }
      throw explain(error)
    }
  }

  /// Attaches the program: in the place of the one that is there, else before the first of ours that packets are to meet
  /// later, else after the last of those before, else behind all others. One that is there already stays there.
  func enter(_ program: SharedDescriptor) throws(ForwardingPlaneError) {
    var attempt = 1
    while true {
      do throws(SystemError) {
        let present = try express.programs()
        let neighbours = try neighbours(present.ids)
        if present.ids.contains(try KernelProgram.identifier(of: program)) { return }
        try express.attach(program.raw, position(among: neighbours), revision: present.revision)
        for other in neighbours.filter({ $0.place == place }).dropFirst() { try express.detach(other.program.raw) }
        return
      } catch {
        if error.errno != ESTALE || attempt == TrafficHook.attempts { throw explain(error) }
        attempt += 1
      }
    }
  }

  private func position(among neighbours: [Neighbour]) -> TCXHook.Position {
    if let former = neighbours.first(where: { $0.place == place }) { return .inPlace(of: former.program.raw) }
    let later = neighbours.first { neighbour in neighbour.place.map { $0.rawValue > place.rawValue } ?? false }
    if let later { return .before(later.id) }
    let earlier = neighbours.last { neighbour in neighbour.place.map { $0.rawValue < place.rawValue } ?? false }
    if let earlier { return .after(earlier.id) }
    return .last
  }

  /// Detaches the program.
  ///
  /// - Returns: whether it was there.
  func leave(_ program: SharedDescriptor) throws(ForwardingPlaneError) -> Bool {
    do {
      try express.detach(program.raw)
      return true
    } catch {
      if error.errno == ENOENT { return false }
      throw explain(error)
    }
  }
}
