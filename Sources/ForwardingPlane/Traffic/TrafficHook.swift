// SPDX-License-Identifier: Apache-2.0

import Clibbpf
import Glibc
import LinuxKernel

/// By which way of the kernel programs get to tc hooks.
public enum TrafficAttachment: Hashable, Sendable {
  /// tcx (Linux 6.6) where it can be had, else filters of a clsact qdisc.
  case auto
  /// Filters of a clsact qdisc.
  case clsact
}

/// The place of one program at a tc hook of an interface, in the calling thread's network namespace.
///
/// What is attached stays when the process dies, by either way, and a successor finds it: a program at tcx by its name, for
/// which it takes CAP_SYS_ADMIN, a filter by its handle and priority. Processes without that capability use filters.
struct TrafficHook: Hashable, Sendable {
  /// One program's place among the programs of an interface, in the order in which packets meet them.
  enum Place: UInt32, Sendable, CaseIterable {
    /// The end of tunnels at a server node, at ingress: before the others, which look at what was in them.
    case tunnelExit = 19520
    /// The forwarding program of a distributor, at ingress.
    case forwarding = 19521
    /// The serving program of a server node, at ingress: after the forwarding program, which marks what is for this node.
    case serving = 19522
    /// The serving plane's filter of resets, at egress.
    case silencing = 19523

    var handle: UInt32 { rawValue &- Place.forwarding.rawValue &+ FilterHook.handle }
    var isEgress: Bool { self == .silencing }

    /// What the kernel keeps of the names of the programs that belong here.
    var programs: [String] {
      switch self {
      case .tunnelExit: ["handoff_decapsu"]
      case .forwarding: ["handoff_forward"]
      case .serving: ["handoff_serve"]
      case .silencing: ["handoff_silence", "handoff_idle"]
      }
    }
  }

  enum Way: Hashable, Sendable {
    case tcx
    case clsact
  }

  let interface: String
  let index: Int32
  let place: Place
  /// By which way a program gets here now; what a predecessor left may be at the other one.
  let way: Way
  /// Programs are at tcx, and this process may not look whose they are.
  private let isBlind: Bool

  init(
    interface name: String, place: Place = .forwarding, _ wanted: TrafficAttachment = .auto
  ) throws(ForwardingPlaneError) {
    // Everything worth saying is in the errors that are thrown; libbpf would write to the standard error output.
    unsafe libbpf_set_print(nil)
    let index = unsafe if_nametoindex(name)
    guard index != 0 else { throw .noSuchInterface(name) }
    self.interface = name
    self.index = Int32(index)
    self.place = place
    // Nil: the kernel has no tcx (EINVAL), or without CAP_NET_ADMIN nothing can be attached, which the calls to come say.
    let strangers = try? TCXHook(interface: index, isEgress: place.isEgress).programs().ids
    let canFind = KernelProgram.canBeFound
    isBlind = !canFind && strangers?.isEmpty == false
    guard strangers != nil, canFind, wanted == .auto else {
      way = .clsact
      return
    }
    // Programs at tcx run before all filters: behind a filter of ours from another process, another filter is the place.
    var isBehindFilter = false
    for earlier in Place.allCases where earlier.rawValue < place.rawValue && !earlier.isEgress && !place.isEgress {
      let hook = FilterHook(interface: name, index: Int32(index), place: earlier)
      if try hook.ownProgram() != nil { isBehindFilter = true }
    }
    way = isBehindFilter ? .clsact : .tcx
  }

  var filter: FilterHook { FilterHook(interface: interface, index: index, place: place) }
  var express: TCXHook { TCXHook(interface: UInt32(index), isEgress: place.isEgress) }

  /// The kernel's id of the program at this place, whoever left it and by whichever way; nil when there is none.
  ///
  /// - Throws: `.hiddenPrograms` when it may be one that this process may not look at.
  func attachedProgram() throws(ForwardingPlaneError) -> UInt32? {
    if isBlind { throw .hiddenPrograms(interface: interface) }
    switch way {
    case .tcx:
      if let program = try programs().first(where: { $0.place == place }) { return program.id }
      // A filter of somebody else stands in nobody's way.
      return try filter.ownProgram()
    case .clsact:
      if let id = try filter.attachedProgram() { return id }
      return try leftovers().first?.id
    }
  }

  /// Puts the program in, in place of one that a predecessor left; when that was by the same way, no packet passes between
  /// the two, else a packet may meet both.
  ///
  /// - Parameter ownsQdisc: whether a clsact qdisc that is there is this program's to remove; nil when no predecessor tells:
  ///   one that is there for other filters, such as those of a server node's agent in this process, goes with the last of
  ///   them; one without any is somebody's own.
  func install(
    _ program: SharedDescriptor, ownsQdisc: Bool? = nil
  ) throws(ForwardingPlaneError) -> InstalledProgram {
    if isBlind { throw .hiddenPrograms(interface: interface) }
    return switch way {
    case .tcx: try installAtTCX(program, ownsQdisc)
    case .clsact: try installFilter(program, ownsQdisc)
    }
  }

  private func installAtTCX(
    _ program: SharedDescriptor, _ ownsQdisc: Bool?
  ) throws(ForwardingPlaneError) -> InstalledProgram {
    let isFilterLeft = try filter.ownProgram() != nil
    try enter(program)
    do {
      var owns = ownsQdisc ?? false
      if isFilterLeft {
        try filter.detach()
        owns = ownsQdisc ?? true
        if owns { owns = try !filter.removeUnusedQdisc() }
      }
      return InstalledProgram(hook: self, program: program, id: try identifier(program), ownsQdisc: owns)
    } catch {
      _ = try? express.detach(program.raw)
      throw error
    }
  }

  private func installFilter(
    _ program: SharedDescriptor, _ ownsQdisc: Bool?
  ) throws(ForwardingPlaneError) -> InstalledProgram {
    let created = try filter.createQdisc()
    do {
      let owns: Bool
      if created { owns = true } else if let ownsQdisc { owns = ownsQdisc } else { owns = try filter.hasFilters() }
      let id = try filter.attach(program)
      for leftover in try leftovers() { _ = try? express.detach(leftover.program.raw) }
      return InstalledProgram(hook: self, program: program, id: id, ownsQdisc: owns)
    } catch {
      if created { _ = try? filter.removeUnusedQdisc() }
      throw error
    }
  }

  private func identifier(_ program: SharedDescriptor) throws(ForwardingPlaneError) -> UInt32 {
    do {
      return try KernelProgram.identifier(of: program)
    } catch {
      throw explain(error)
    }
  }

  /// Removes what a killed process left here, by either way.
  func removeLeftovers() throws(ForwardingPlaneError) {
    for leftover in try leftovers() {
      do {
        try express.detach(leftover.program.raw)
      } catch {
        if error.errno != ENOENT { throw explain(error) }
      }
    }
    let left = way == .tcx ? try filter.ownProgram() : try filter.attachedProgram()
    guard left != nil else { return }
    try filter.detach()
    try filter.removeUnusedQdisc()
  }

  func explain(_ error: SystemError) -> ForwardingPlaneError {
    switch error.errno {
    case EPERM, EACCES: .notPermitted(call: error.call, interface: interface)
    case ENODEV: .noSuchInterface(interface)
    default: .system(error.on(interface))
    }
  }
}

/// A program that `TrafficHook.install` has put in.
struct InstalledProgram: Sendable {
  let hook: TrafficHook
  let program: SharedDescriptor
  /// The kernel's id of it.
  let id: UInt32
  /// The clsact qdisc is to go with the last filter.
  let ownsQdisc: Bool

  /// Takes the program out, and the clsact qdisc if it is this program's to remove and nothing else uses it. One that
  /// somebody else has put in its place meanwhile stays.
  func remove() throws(ForwardingPlaneError) {
    do throws(ForwardingPlaneError) {
      switch hook.way {
      case .tcx:
        guard try hook.leave(program) else { return }
      case .clsact:
        guard try hook.filter.attachedProgram() == id else { return }
        try hook.filter.detach()
      }
      if ownsQdisc { try hook.filter.removeUnusedQdisc() }
    } catch {
      // The interface went, and everything with it.
      if case .noSuchInterface = error { return }
      throw error
    }
  }
}
