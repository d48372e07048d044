// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
import LinuxKernel
import Wire

/// The forwarding program at the driver of an interface: it shares the maps of the one at tc, and leaves to that whatever it
/// does not forward.
///
/// All calls are for threads in the interface's network namespace.
final class DriverPlane: Sendable {
  static let programName = "handoff_driver"

  let program: SharedDescriptor
  private let hook: DriverHook
  private let settings: SharedDescriptor
  private let counts: SharedDescriptor
  private let cpus: Int

  /// Loads the program onto the maps of the one at tc and attaches it, in place of one that a dead process left.
  ///
  /// - Parameter isWanted: the operator has asked for it, so that being slower is no obstacle.
  static func attach(
    at hook: DriverHook, maps: PlaneMaps, isWanted: Bool
  ) throws(DriverObstacle) -> DriverPlane {
    let facts = try DriverPlane.facts(hook)
    if let obstacle = facts.obstacle(isWanted: isWanted) { throw obstacle }
    do {
      let loaded = try load(maps)
      let plane = DriverPlane(
        program: loaded.program, hook: hook, settings: loaded.settings, counts: loaded.counts,
        cpus: Int(try LibBPF.call("libbpf_num_possible_cpus") { libbpf_num_possible_cpus() }))
      try plane.settle(facts)
      try hook.attach(plane.program, replacing: try hook.occupant())
      return plane
    } catch let error as SystemError {
      throw .refused("the kernel does not take the XDP program at \(hook.interface): \(error)")
    } catch let failure as BPFLoadFailure {
      throw .refused("the kernel does not take the XDP program: \(failure.error); it said:\n\(failure.said)")
    } catch {
      preconditionFailure("\(error) is of no known type")
    }
  }

  /// What counts for forwarding at the driver of an interface.
  static func facts(_ hook: DriverHook) throws(DriverObstacle) -> DriverFacts {
    do {
      let occupant = try hook.occupant()
      return DriverFacts(
        driver: InterfaceOffloads.driver(hook.interface), features: try features(hook),
        takesTagsOff: InterfaceOffloads.takesTagsOff(hook.interface),
        stranger: occupant.flatMap { $0.name == programName ? nil : $0.name })
    } catch {
      throw .refused("the XDP hook of \(hook.interface) cannot be read: \(error)")
    }
  }

  private static func features(_ hook: DriverHook) throws(SystemError) -> DriverFeatures? {
    do {
      var netlink = try NetlinkSocket(.generic)
      return try netlink.driverFeatures(interface: UInt32(hook.index))
    } catch {
      if error.errno == ENOENT { return nil }
      throw error
    }
  }

  /// Removes what a process left.
  static func removeLeftover(_ hook: DriverHook) {
    guard let occupant = try? hook.occupant(), occupant.name == programName else { return }
    try? hook.detach(occupant)
  }

  /// Loads the program with maps of its own: whether the kernel takes it at all.
  static func tryLoading() throws(DriverObstacle) {
    do {
      _ = try load(nil)
    } catch let error as SystemError {
      throw .refused("\(error)")
    } catch let failure as BPFLoadFailure {
      throw .refused("\(failure.error); it said:\n\(failure.said)")
    } catch {
      preconditionFailure("\(error) is of no known type")
    }
  }

  private static func load(
    _ maps: PlaneMaps?
  ) throws -> (program: SharedDescriptor, settings: SharedDescriptor, counts: SharedDescriptor) {
    let object = try BPFObject(DriverProgramObject.bytes, name: "handoff_driver")
    object.check("driver_settings", UInt32.self, CForwardingPlane.driver_settings.self)
    object.check("driver_counts", UInt32.self, driver_counters.self)
    if let maps { try LoadedProgram.share(maps, with: object) }
    try object.load()
    return (try object.program(programName), try object.map("driver_settings"), try object.map("driver_counts"))
  }

  private init(
    program: SharedDescriptor, hook: DriverHook, settings: SharedDescriptor, counts: SharedDescriptor, cpus: Int
  ) {
    self.program = program
    self.hook = hook
    self.settings = settings
    self.counts = counts
    self.cpus = cpus
  }

  /// Follows what has become of the interface since: its address, its longest frame, and whether frames can leave by it at
  /// all. While they cannot, the program at tc forwards.
  ///
  /// - Returns: whether frames are forwarded here.
  @discardableResult
  func adapt() -> Bool {
    guard let facts = try? DriverPlane.facts(hook), (try? settle(facts)) != nil else { return false }
    return facts.obstacle(isWanted: true) == nil
  }

  private func settle(_ facts: DriverFacts) throws(SystemError) {
    var netlink = try NetlinkSocket(.route)
    guard let interface = try netlink.interface(UInt32(hook.index)) else {
      throw SystemError("find", hook.interface, errno: ENODEV)
    }
    var record = CForwardingPlane.driver_settings()
    let mac = interface.mac
    record.mac = (mac[0], mac[1], mac[2], mac[3], mac[4], mac[5])
    record.longest = UInt16(clamping: interface.mtu + 14)
    let way = facts.isVeth ? (facts.canRedirect ? DRIVER_REDIRECTS : DRIVER_PASSES_ALL) : DRIVER_TRANSMITS
    record.way = way.rawValue
    try write(record)
  }

  func write(_ record: CForwardingPlane.driver_settings) throws(SystemError) {
    var (zero, record) = (UInt32(0), record)
    _ = try LibBPF.call("bpf_map_update_elem") { unsafe bpf_map_update_elem(settings.raw, &zero, &record, 0) }
  }

  func counters() -> DriverCounters { DriverCounters.read(counts, cpus: cpus) }

  /// Removes the program, unless another has taken its place.
  func detach() {
    guard let occupant = try? hook.occupant(), occupant.name == DriverPlane.programName,
      occupant.id == (try? identifier())
    else { return }
    try? hook.detach(occupant)
  }

  private func identifier() throws(SystemError) -> UInt32 {
    var info = bpf_prog_info()
    var length = UInt32(MemoryLayout<bpf_prog_info>.size)
    let raw = program.raw
    _ = try LibBPF.call("bpf_obj_get_info_by_fd") { unsafe bpf_obj_get_info_by_fd(raw, &info, &length) }
    return info.id
  }
}
