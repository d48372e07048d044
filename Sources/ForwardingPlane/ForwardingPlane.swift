// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
import LinuxKernel
public import Wire

/// How the program is set up.
public struct ForwardingPlaneConfiguration: Hashable, Sendable {
  /// Flows that the table can hold, 64 to 16,777,216. A flow takes 128 bytes while it is in the table, and 16 bytes are
  /// taken for each flow of the capacity, rounded up to a power of two.
  public var capacity: Int
  /// `skb->mark` of packets for the back-end on this node; the rule that queues packets to user space lets it pass.
  public var localMark: UInt32
  /// Where packets of handed-off connections are forwarded.
  public var hook: ForwardingHook
  /// How the program gets to tc ingress.
  public var attachment: TrafficAttachment

  /// 262,144.
  public static var defaultCapacity: Int { Int(HANDOFF_DEFAULT_FLOWS) }

  public init(
    capacity: Int = defaultCapacity, localMark: UInt32, hook: ForwardingHook = .tc,
    attachment: TrafficAttachment = .auto
  ) {
    self.capacity = capacity
    self.localMark = localMark
    self.hook = hook
    self.attachment = attachment
  }
}

/// The BPF program at tc ingress of the distributor's interface, and the one at its driver where there is one.
///
/// The program and its maps live as long as it is attached, also when this process dies: handed-off connections go on,
/// and the next process takes them over. Only `detach` removes them. All calls are for the thread that owns this value,
/// in the interface's network namespace; worker threads use `flows`.
public struct ForwardingPlane: ~Copyable, Sendable {
  /// What `attach` found and did with it.
  public enum Adoption: Hashable, Sendable {
    /// Nothing was attached.
    case fresh
    /// The predecessor's maps are in use, with this many flows.
    case maps(flows: Int)
    /// The predecessor's table had another size: its flows were copied; `lost` did not fit.
    case copied(flows: Int, lost: Int)
    /// The predecessor's flows are lost.
    case replaced(AdoptionObstacle)

    /// Whether the predecessor's flow table is still the one in use.
    var keepsTable: Bool {
      if case .maps = self { true } else { false }
    }
  }

  public let flows: FlowTable
  public let adoption: Adoption
  public let configuration: ForwardingPlaneConfiguration
  let installed: InstalledProgram
  var program: SharedDescriptor { installed.program }
  let stateMap: SharedDescriptor
  private let services: ServiceSet
  /// How handshakes are answered and packets come to user space.
  public let handshake: HandshakeTable
  /// Ways to server nodes on other networks.
  public let tunnels: TunnelTable
  /// What the program needs to hand connections off by itself.
  public let leases: LeasePlane
  private let counterArray: CounterArray
  /// Whether packets are forwarded at the driver.
  public let driver: DriverPart

  /// Flows taken over from a predecessor that died.
  public var adoptedFlows: Int {
    switch adoption {
    case .maps(let flows), .copied(let flows, _): flows
    case .fresh, .replaced: 0
    }
  }

  /// Loads the program and attaches it, in place of one that a dead process left.
  ///
  /// The calling thread must be in the interface's network namespace. One process at a time: the caller holds a lock that
  /// tells a predecessor that died from one that lives.
  ///
  /// - Throws: every case that is about set-up; nothing is left attached or created then, and a predecessor's program
  ///   stays as it was.
  public static func attach(
    interface: String, configuration: ForwardingPlaneConfiguration
  ) throws(ForwardingPlaneError) -> ForwardingPlane {
    guard (64...(1 << 24)).contains(configuration.capacity) else {
      throw .invalidConfiguration(
        "the flow table cannot hold \(configuration.capacity) flows; choose 64 to 16777216")
    }
    let hook = try TrafficHook(interface: interface, configuration.attachment)
    return try setUp(at: hook, configuration, after: try Predecessor.find(at: hook))
  }

  /// Who is at tc ingress where the program belongs.
  public enum Occupant: Hashable, Sendable {
    case nobody
    /// This program; `attach` takes its flows over.
    case plane
    /// This program; its flows would be lost.
    case strange(AdoptionObstacle)
  }

  /// What `attach` would find; changes nothing.
  ///
  /// - Throws: `.hookTaken` when a program that is not this one is in the place.
  public static func occupant(interface: String) throws(ForwardingPlaneError) -> Occupant {
    switch try Predecessor.find(at: try TrafficHook(interface: interface)) {
    case .none: .nobody
    case .usable: .plane
    case .unusable(let obstacle, _): .strange(obstacle)
    }
  }

  private static func setUp(
    at hook: TrafficHook, _ configuration: ForwardingPlaneConfiguration, after predecessor: Predecessor
  ) throws(ForwardingPlaneError) -> ForwardingPlane {
    let loaded: LoadedProgram
    let ownsQdisc: Bool?
    switch predecessor {
    case .none:
      loaded = try LoadedProgram.load(for: hook.interface, capacity: configuration.capacity, reusing: nil)
      ownsQdisc = nil
    case .unusable(_, let created):
      loaded = try LoadedProgram.load(for: hook.interface, capacity: configuration.capacity, reusing: nil)
      ownsQdisc = created
    case .usable(let maps, let capacity, let created):
      let sameSize = capacity == configuration.capacity
      loaded = try LoadedProgram.load(
        for: hook.interface, capacity: configuration.capacity, reusing: maps, withFlows: sameSize)
      ownsQdisc = created
    }
    let counters = try CounterArray(loaded.maps.counters)
    let leases = try LeasePlane(loaded.leaseMaps)
    let table = FlowTable(map: loaded.maps.flows, counters: counters, capacity: configuration.capacity)
    let adoption = table.adopt(from: predecessor, counters)
    let driver = try DriverPart.attach(
      at: DriverHook(hook), loaded.maps, configuration.hook, adopting: adoption)
    let installed: InstalledProgram
    do {
      let state = PlaneState(map: loaded.maps.state)
      try state.write(localMark: configuration.localMark, createdQdisc: ownsQdisc ?? false)
      installed = try hook.install(loaded.program, ownsQdisc: ownsQdisc)
      if installed.ownsQdisc != ownsQdisc ?? false {
        // At worst a successor leaves an empty qdisc there.
        try? state.write(localMark: configuration.localMark, createdQdisc: installed.ownsQdisc)
      }
    } catch {
      driver.detach()
      throw error
    }
    return ForwardingPlane(
      flows: table, adoption: adoption, configuration: configuration, installed: installed,
      stateMap: loaded.maps.state, services: ServiceSet(map: loaded.maps.services),
      handshake: HandshakeTable(
        handshake: loaded.maps.handshake, alive: loaded.maps.alive, rings: loaded.maps.rings),
      tunnels: TunnelTable(map: loaded.maps.tunnels), leases: leases, counterArray: counters, driver: driver)
  }

  /// Whether the program is at tcx; else it is a filter of a clsact qdisc.
  public var isAtTCX: Bool { installed.hook.way == .tcx }

  /// Packets to these endpoints are the program's business from now on, packets to all others are not.
  public func setServices(_ endpoints: [Endpoint]) throws(ForwardingPlaneError) { try services.replace(by: endpoints) }

  /// What the program has done with the packets that it saw.
  public func counters() -> ForwardingCounters { counterArray.read() }

  /// Removes the program and its maps, and the clsact qdisc if this process or a predecessor created it and nothing else
  /// uses it. Handed-off connections of clients that come through this node end with that.
  ///
  /// A program that somebody else has put in its place meanwhile stays.
  public consuming func detach() throws(ForwardingPlaneError) {
    // First: the program at tc forwards in between.
    driver.detach()
    try installed.remove()
  }
}
