// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
public import Handoff
public import LinuxKernel
public import Wire

/// How the serving plane is set up.
public struct ServePlaneConfiguration: Hashable, Sendable {
  /// The node's interface for clients' packets.
  public var interface: String
  /// Port of the node's web server.
  public var serverPort: UInt16
  /// Where the web server is looked for when it does not listen at the served address or the wildcard address.
  public var serverAddressIPv4: IPAddress
  public var serverAddressIPv6: IPAddress
  /// Event loops, 1 to 64; each has a ring of its own.
  public var loops: Int
  /// The UDP port at which the kernel takes handoffs by packet; 0 for none.
  public var packetPort: UInt16
  /// Of the tags of handoffs by packet.
  public var packetKey: HandoffPacketKey
  /// How the programs get to the interfaces.
  public var attachment: TrafficAttachment

  public init(
    interface: String, serverPort: UInt16, serverAddressIPv4: IPAddress, serverAddressIPv6: IPAddress, loops: Int,
    packetPort: UInt16 = 0, packetKey: HandoffPacketKey = HandoffPacketKey(0, 0), attachment: TrafficAttachment = .auto
  ) {
    self.interface = interface
    self.serverPort = serverPort
    self.serverAddressIPv4 = serverAddressIPv4
    self.serverAddressIPv6 = serverAddressIPv6
    self.loops = loops
    self.packetPort = packetPort
    self.packetKey = packetKey
    self.attachment = attachment
  }

  public static var maximumLoops: Int { Int(SERVE_MAX_LOOPS) }
}

/// The BPF programs that give handed-off connections to the node's own web server: at tc ingress of the node's interface and
/// of `lo`, and at the tracepoint of TCP's state changes.
///
/// The tracepoint's program goes with this process, the others stay when it is killed, so that packets of open connections
/// are treated as before; the next process replaces them. Any thread may call, in the namespace of the interface.
public final class ServePlane: Sendable {
  public let configuration: ServePlaneConfiguration
  public let pending: PendingConnections
  /// A killed predecessor's programs were found.
  public let hadPredecessor: Bool

  private let object: LoadedServeObject
  private let states: SharedDescriptor
  private let rings: [SharedDescriptor]
  private let installed: [InstalledProgram]
  private let silencer: Silencer
  private let counterArray: ServeCounterArray
  private let namespace: UInt64

  private init(
    _ configuration: ServePlaneConfiguration, _ object: LoadedServeObject, states: SharedDescriptor,
    rings: [SharedDescriptor], installed: [InstalledProgram], silencer: Silencer, counters: ServeCounterArray,
    namespace: UInt64, hadPredecessor: Bool
  ) {
    self.configuration = configuration
    self.object = object
    self.states = states
    self.rings = rings
    self.installed = installed
    self.silencer = silencer
    self.namespace = namespace
    self.hadPredecessor = hadPredecessor
    counterArray = counters
    pending = PendingConnections(map: object.maps.waiting, seen: object.maps.seen)
  }

  // MARK: Set up and tear down

  /// Loads and attaches the programs; nothing is served yet. What was attached before a failure is removed.
  public static func attach(_ configuration: ServePlaneConfiguration) throws(ServePlaneError) -> ServePlane {
    precondition((1...ServePlaneConfiguration.maximumLoops).contains(configuration.loops))
    let object = try LoadedServeObject.load()
    var installed: [InstalledProgram] = []
    do {
      let namespace = try NamespaceIdentity.cookie()
      try write(serve_settings(configuration, namespace: namespace, adopts: false), object)
      var rings: [SharedDescriptor] = []
      for index in 0..<configuration.loops { rings.append(try makeRing(UInt32(index), object)) }
      let counters = try ServeCounterArray(object.maps.counters)
      // The tracepoint first: no connection is to end unseen.
      let states = SharedDescriptor(
        OwnedDescriptor(
          owning: try LibBPF.call("bpf_raw_tracepoint_open") { bpf_raw_tracepoint_open(nil, object.states.raw) })
      )
      var hadPredecessor = false
      for name in [configuration.interface, "lo"] {
        let hook = try TrafficHook(interface: name, place: .serving, configuration.attachment)
        if try hook.attachedProgram() != nil { hadPredecessor = true }
        installed.append(try hook.install(object.serve))
      }
      let silencing = try TrafficHook(
        interface: configuration.interface, place: .silencing, configuration.attachment)
      try silencing.removeLeftovers()
      let silencer = Silencer(silencing, silence: object.silence, idle: object.idle)
      return ServePlane(
        configuration, object, states: states, rings: rings, installed: installed, silencer: silencer,
        counters: counters, namespace: namespace, hadPredecessor: hadPredecessor)
    } catch {
      for program in installed { try? program.remove() }
      switch error {
      case let error as ServePlaneError: throw error
      case let error as ForwardingPlaneError: throw ServePlaneError(error)
      case let error as SystemError: throw .failed(error)
      default: preconditionFailure("\(error) is of no known type")
      }
    }
  }

  private static func makeRing(_ index: UInt32, _ object: LoadedServeObject) throws(SystemError) -> SharedDescriptor {
    let raw = try LibBPF.call("bpf_map_create") {
      unsafe bpf_map_create(BPF_MAP_TYPE_RINGBUF, "serve_ring", 0, 0, UInt32(SERVE_RING_BYTES), nil)
    }
    let ring = SharedDescriptor(OwnedDescriptor(owning: raw))
    var (index, value) = (index, raw)
    _ = try LibBPF.call("bpf_map_update_elem") {
      unsafe bpf_map_update_elem(object.maps.rings.raw, &index, &value, 0)
    }
    return ring
  }

  private static func write(_ settings: serve_settings, _ object: LoadedServeObject) throws(SystemError) {
    var (zero, settings): (UInt32, serve_settings) = (0, settings)
    _ = try LibBPF.call("bpf_map_update_elem") {
      unsafe bpf_map_update_elem(object.maps.settings.raw, &zero, &settings, 0)
    }
  }

  /// Removes what `attach` of this or of a killed process put on the interfaces.
  public func detach() {
    silencer.remove()
    // A program that somebody else has put in its place meanwhile stays.
    for program in installed { try? program.remove() }
  }

  /// Removes what a killed process left on an interface and on `lo`, for a start that serves otherwise.
  public static func removeLeftovers(interface: String) {
    for (name, place) in [(interface, TrafficHook.Place.serving), (interface, .silencing), ("lo", .serving)] {
      try? TrafficHook(interface: name, place: place).removeLeftovers()
    }
  }

  // MARK: Use

  /// Packets to these endpoints are the programs' business from now on, packets to all others are not.
  public func setServices(_ endpoints: [Endpoint]) throws(ServePlaneError) {
    guard endpoints.count <= Int(SERVE_MAX_SERVICES) else {
      throw ServePlaneError(
        "\(endpoints.count) services are more than the \(SERVE_MAX_SERVICES) that the serving program can hold",
        remedy: "Serve fewer addresses or ports")
    }
    let map = object.maps.services.raw
    let wanted = endpoints.map(serve_service_key.init)
    // Removed first: the map may have no room for both.
    for var key in services() where !wanted.contains(where: { $0.endpoint == key.endpoint }) {
      _ = unsafe bpf_map_delete_elem(map, &key)
    }
    for var key in wanted {
      let isIPv4 = key.endpoint.address.isIPv4
      var server = serve_listener(
        address: serve_address(isIPv4 ? configuration.serverAddressIPv4 : configuration.serverAddressIPv6),
        port: configuration.serverPort.bigEndian, zero: 0)
      do {
        _ = try LibBPF.call("bpf_map_update_elem") { unsafe bpf_map_update_elem(map, &key, &server, 0) }
      } catch {
        throw .failed(error.on("service \(key.endpoint)"))
      }
    }
  }

  private func services() -> [serve_service_key] {
    var found: [serve_service_key] = []
    var (key, next) = (serve_service_key(), serve_service_key())
    var result = unsafe bpf_map_get_next_key(object.maps.services.raw, nil, &next)
    while result == 0 {
      found.append(next)
      key = next
      result = unsafe bpf_map_get_next_key(object.maps.services.raw, &key, &next)
    }
    return found
  }

  /// The ring of one event loop.
  public func ring(_ loop: Int) throws(SystemError) -> EventRing {
    try EventRing(rings[loop], watching: object.maps.watching, loop: loop)
  }

  public func counters() -> ServeCounters { counterArray.read() }

  /// Whatever may have kept an event from its loop since the start: a number that only grows. Two system calls.
  public func losses() -> UInt64 {
    let counters = counterArray.read()
    return counters.eventsLost &+ counters.untracked &+ missedRuns()
  }

  /// The kernel does not run a tracepoint's program within itself, on one CPU: a softirq that ends a connection while the
  /// program looks at another one goes untold, and is counted.
  private func missedRuns() -> UInt64 {
    var info = bpf_prog_info()
    var length = UInt32(MemoryLayout<bpf_prog_info>.size)
    return unsafe bpf_obj_get_info_by_fd(object.states.raw, &info, &length) == 0 ? info.recursion_misses : 0
  }

  /// Makes the kernel tell the end of a connection that it has no record of: of a predecessor's, or of one whose
  /// establishment was not told.
  public func adopt(_ flow: FlowTuple, token: UInt64, loop: Int, now: UInt64) throws(SystemError) {
    var key = serve_key(flow)
    var value = serve_connection(token: token, origin: 0, since: now, loop: UInt32(loop), is_over: 0)
    try ServePlane.write(serve_settings(configuration, namespace: namespace, adopts: true), object)
    _ = try LibBPF.call("bpf_map_update_elem") {
      unsafe bpf_map_update_elem(object.maps.adopted.raw, &key, &value, 0)
    }
  }

  /// Runs `body`, which ends the connection, without its client seeing a reset.
  public func silently(_ flow: FlowTuple, _ body: () -> Void) throws(ServePlaneError) {
    var key = serve_key(flow)
    var one: UInt32 = 1
    do throws(ForwardingPlaneError) { try silencer.begin() } catch { throw ServePlaneError(error) }
    _ = unsafe bpf_map_update_elem(object.maps.silenced.raw, &key, &one, 0)
    body()
    _ = unsafe bpf_map_delete_elem(object.maps.silenced.raw, &key)
    silencer.end()
  }
}

extension serve_settings {
  fileprivate init(_ configuration: ServePlaneConfiguration, namespace: UInt64, adopts: Bool) {
    self.init(
      namespace_cookie: namespace, adopts: adopts ? 1 : 0, loops: UInt32(configuration.loops),
      key: (configuration.packetKey.first, configuration.packetKey.second),
      packet_port: configuration.packetPort.bigEndian, zero: (0, 0, 0))
  }
}
