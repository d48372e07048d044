// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Clibbpf
import Glibc
import LinuxKernel
import Wire

/// The endpoints whose packets the program looks at.
struct ServiceSet: Sendable {
  let map: SharedDescriptor

  func replace(by endpoints: [Endpoint]) throws(ForwardingPlaneError) {
    let wanted = Set(endpoints)
    guard wanted.count <= Int(HANDOFF_MAX_SERVICES) else {
      throw .tooManyServices(count: wanted.count, limit: Int(HANDOFF_MAX_SERVICES))
    }
    // Each address once more with port 0, for fragments, which name no port.
    var wantedKeys = Dictionary(
      uniqueKeysWithValues: wanted.map { ($0, UInt32(HANDOFF_SERVED.rawValue)) })
    for endpoint in wanted { wantedKeys[Endpoint(endpoint.address, 0)] = UInt32(HANDOFF_ADDRESS_SERVED.rawValue) }
    // Removed first: the map may have no room for both.
    for endpoint in entries() where wantedKeys[endpoint] == nil {
      var key = handoff_service_key(endpoint)
      _ = unsafe bpf_map_delete_elem(map.raw, &key)
    }
    for (endpoint, use) in wantedKeys {
      var key = handoff_service_key(endpoint)
      var value = use
      do {
        _ = try LibBPF.call("bpf_map_update_elem") { unsafe bpf_map_update_elem(map.raw, &key, &value, 0) }
      } catch {
        throw .system(error.on("service \(endpoint)"))
      }
    }
  }

  /// What is served.
  func all() -> [Endpoint] { entries().filter { $0.port != 0 } }

  private func entries() -> [Endpoint] {
    var endpoints: [Endpoint] = []
    var key = handoff_service_key()
    var next = handoff_service_key()
    var result = unsafe bpf_map_get_next_key(map.raw, nil, &next)
    while result == 0 {
      endpoints.append(next.endpoint)
      key = next
      result = unsafe bpf_map_get_next_key(map.raw, &key, &next)
    }
    return endpoints
  }
}

/// The plane's record about itself.
struct PlaneState: Sendable {
  let map: SharedDescriptor

  func write(localMark: UInt32, createdQdisc: Bool) throws(ForwardingPlaneError) {
    var zero: UInt32 = 0
    var state = handoff_state(
      layout_version: UInt32(HANDOFF_LAYOUT_VERSION), local_mark: localMark, created_qdisc: createdQdisc ? 1 : 0,
      zero: 0)
    do {
      _ = try LibBPF.call("bpf_map_update_elem") { unsafe bpf_map_update_elem(map.raw, &zero, &state, 0) }
    } catch {
      throw .system(error)
    }
  }
}
