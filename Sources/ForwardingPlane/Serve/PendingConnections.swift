// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
public import Handoff
public import LinuxKernel
public import Wire

/// What became of the segment of a pending connection.
public enum PendingResult: Hashable, Sendable, BitwiseCopyable {
  /// Not seen yet.
  case waiting
  /// Given to the listener. As long as the entry is there, no connection came of it (the accept queue was full), or the kernel
  /// did not tell.
  case assigned
  /// The 4-tuple is in use on this node.
  case tupleBusy
  case noListener
  /// The kernel refused the assignment with this errno.
  case refused(Int32)
}

/// Connections that wait for their first segment. Any thread may call; each call is one system call.
public struct PendingConnections: Sendable {
  let map: SharedDescriptor
  let seen: SharedDescriptor

  public enum Mode: Sendable {
    case new
    /// Only where the entry is still there: otherwise the connection stands already.
    case again
  }

  /// Makes the kernel take the segment at `sequence` as the beginning of this connection.
  ///
  /// - Parameters:
  ///   - sequence: of the segment; the client's ISN becomes one less.
  ///   - token: given back in the connection's events.
  /// - Throws: ENOENT for `.again` when the entry is gone, E2BIG when the map is full, ENOMEM.
  public func insert(
    _ snapshot: TCPSnapshot, sequence: SequenceNumber, token: UInt64, loop: Int, _ mode: Mode
  ) throws(SystemError) {
    var key = serve_key(snapshot.flow)
    var value = serve_pending()
    value.token = token
    value.sequence = sequence.rawValue
    value.acknowledgment = snapshot.sendNext.rawValue
    value.mss = snapshot.maximumSegmentSize
    value.loop = UInt8(truncatingIfNeeded: loop)
    if let scale = snapshot.windowScale {
      value.options |= UInt8(SERVE_WINDOW_SCALE.rawValue)
      value.send_scale = scale.send
      value.receive_scale = scale.receive
    }
    if snapshot.sackPermitted { value.options |= UInt8(SERVE_SACK.rawValue) }
    if let timestamps = snapshot.timestamps {
      value.options |= UInt8(SERVE_TIMESTAMPS.rawValue)
      value.timestamp_value = timestamps.recent
      value.timestamp_echo = timestamps.nextValue
    }
    let flags = mode == .new ? BPF_ANY : BPF_EXIST
    _ = try LibBPF.call("bpf_map_update_elem") { unsafe bpf_map_update_elem(map.raw, &key, &value, UInt64(flags)) }
  }

  /// Nil when there is no entry: the connection stands, or was never there.
  public func result(of flow: FlowTuple) -> PendingResult? {
    var key = serve_key(flow)
    var value = serve_pending()
    guard unsafe bpf_map_lookup_elem(map.raw, &key, &value) == 0 else { return nil }
    return PendingResult(UInt32(value.result), error: value.error)
  }

  /// Says that the agent treats a handoff itself: a packet that still comes with it is dropped.
  ///
  /// - Returns: whether it is the agent's; false when the kernel has taken it from its packet already.
  public func claim(origin: UInt64, handoff: HandoffID) -> Bool {
    var key = serve_handoff(origin: origin, handoff: handoff.rawValue)
    var value: UInt32 = 0
    return unsafe bpf_map_update_elem(seen.raw, &key, &value, UInt64(BPF_NOEXIST)) == 0
  }

  /// What handoffs by packet of this loop have left, of which nothing was told. Normally there for microseconds.
  public func leftovers(loop: Int) -> [Leftover] {
    var found: [Leftover] = []
    var key = serve_key()
    var next = serve_key()
    var result = unsafe bpf_map_get_next_key(map.raw, nil, &next)
    // The walk may begin anew when its place is removed by others; it ends all the same.
    for _ in 0..<2 * SERVE_MAX_PENDING where result == 0 {
      key = next
      var value = serve_pending()
      let isThere = unsafe bpf_map_lookup_elem(map.raw, &key, &value) == 0
      result = unsafe bpf_map_get_next_key(map.raw, &key, &next)
      guard isThere, value.origin != 0, value.loop == loop else { continue }
      found.append(
        Leftover(
          flow: FlowTuple(key), origin: value.origin, id: HandoffID(value.token),
          isAssigned: UInt32(value.result) == SERVE_ASSIGNED.rawValue))
    }
    return found
  }

  /// An entry that a handoff by packet has made. No connection came of it, as the listener's accept queue was full, or the
  /// kernel did not tell of it.
  public struct Leftover: Hashable, Sendable {
    public let flow: FlowTuple
    public let origin: UInt64
    public let id: HandoffID
    /// The listener was given the request.
    public let isAssigned: Bool
  }

  /// Returns whether the entry was still there. A segment that the kernel is just processing may have seen it before:
  /// whoever must know waits for `KernelBarrier.wait` and looks for the connection.
  public func remove(_ flow: FlowTuple) -> Bool {
    var key = serve_key(flow)
    return unsafe bpf_map_delete_elem(map.raw, &key) == 0
  }
}

extension PendingResult {
  init(_ result: UInt32, error: Int32) {
    switch result {
    case SERVE_ASSIGNED.rawValue: self = .assigned
    case SERVE_TUPLE_BUSY.rawValue: self = .tupleBusy
    case SERVE_NO_LISTENER.rawValue: self = .noListener
    case SERVE_REFUSED.rawValue: self = .refused(-error)
    default: self = .waiting
    }
  }
}

extension FlowTuple {
  init(_ key: serve_key) {
    self.init(
      client: Endpoint(
        handoff_address(words: key.client.words).address, UInt16(bigEndian: key.client_port)),
      service: Endpoint(
        handoff_address(words: key.service.words).address, UInt16(bigEndian: key.service_port)))
  }
}

extension serve_address {
  init(_ address: IPAddress) {
    self.init(words: handoff_address(address).words)
  }
}

extension serve_service_key {
  init(_ service: Endpoint) {
    self.init(address: serve_address(service.address), port: service.port.bigEndian, zero: 0)
  }

  var endpoint: Endpoint { Endpoint(handoff_address(words: address.words).address, UInt16(bigEndian: port)) }
}

extension serve_key {
  init(_ flow: FlowTuple) {
    self.init(
      client: serve_address(flow.client.address), service: serve_address(flow.service.address),
      client_port: flow.client.port.bigEndian, service_port: flow.service.port.bigEndian)
  }
}
