// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Handoff
import Wire

// Between the values of this package and the C structs of the BPF maps. Addresses and ports are in network order there.

extension handoff_address {
  init(_ address: IPAddress) {
    self.init(
      words: (
        UInt32(truncatingIfNeeded: address.high >> 32).bigEndian, UInt32(truncatingIfNeeded: address.high).bigEndian,
        UInt32(truncatingIfNeeded: address.low >> 32).bigEndian, UInt32(truncatingIfNeeded: address.low).bigEndian
      ))
  }

  var address: IPAddress {
    IPAddress(
      high: UInt64(UInt32(bigEndian: words.0)) << 32 | UInt64(UInt32(bigEndian: words.1)),
      low: UInt64(UInt32(bigEndian: words.2)) << 32 | UInt64(UInt32(bigEndian: words.3)))
  }
}

extension handoff_service_key {
  init(_ service: Endpoint) {
    self.init(address: handoff_address(service.address), port: service.port.bigEndian, zero: 0)
  }

  var endpoint: Endpoint { Endpoint(address.address, UInt16(bigEndian: port)) }
}

extension handoff_flow_key {
  init(_ flow: FlowTuple) {
    self.init(
      client: handoff_address(flow.client.address), service: handoff_address(flow.service.address),
      client_port: flow.client.port.bigEndian, service_port: flow.service.port.bigEndian)
  }

  var flow: FlowTuple {
    FlowTuple(
      client: Endpoint(client.address, UInt16(bigEndian: client_port)),
      service: Endpoint(service.address, UInt16(bigEndian: service_port)))
  }
}

extension handoff_flow_entry {
  init(_ entry: FlowEntry) {
    self.init()
    handoff_id = entry.handoff.rawValue
    last_seen = entry.lastSeen
    client_isn = entry.clientISN.rawValue
    back_end = entry.backEnd
    flags = entry.seen.rawValue
    send_next = entry.sendNext
    switch entry.action {
    case .forward(let address):
      action = UInt8(truncatingIfNeeded: HANDOFF_FORWARD_MAC.rawValue)
      mac = (address[0], address[1], address[2], address[3], address[4], address[5])
    case .deliverLocally:
      action = UInt8(truncatingIfNeeded: HANDOFF_DELIVER_LOCALLY.rawValue)
    case .tunnel(let slot):
      action = UInt8(truncatingIfNeeded: HANDOFF_FORWARD_TUNNEL.rawValue)
      tunnel = slot
    }
  }

  var entry: FlowEntry {
    FlowEntry(
      action: flowAction, clientISN: SequenceNumber(client_isn), handoff: HandoffID(handoff_id), backEnd: back_end,
      now: last_seen, seen: FlowEntry.Seen(rawValue: flags), sendNext: send_next)
  }

  private var flowAction: FlowEntry.Action {
    switch UInt32(action) {
    case HANDOFF_FORWARD_MAC.rawValue:
      let high = UInt64(mac.0) << 40 | UInt64(mac.1) << 32 | UInt64(mac.2) << 24
      return .forward(to: MACAddress(bits: high | UInt64(mac.3) << 16 | UInt64(mac.4) << 8 | UInt64(mac.5)))
    case HANDOFF_FORWARD_TUNNEL.rawValue: return .tunnel(tunnel)
    default: return .deliverLocally
    }
  }
}
