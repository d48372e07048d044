// SPDX-License-Identifier: Apache-2.0

import ForwardingPlane
import Handoff
import Wire

extension FlowEntry {
  static let isn = SequenceNumber(4999)

  static func forwarding(
    to mac: MACAddress = Addresses.backEndMAC, handoff: UInt64 = 7, backEnd: UInt16 = 3, lastSeen: UInt64 = 1
  ) -> FlowEntry {
    FlowEntry(
      action: .forward(to: mac), clientISN: isn, handoff: HandoffID(handoff), backEnd: backEnd, now: lastSeen)
  }

  static func local(handoff: UInt64 = 7) -> FlowEntry {
    FlowEntry(action: .deliverLocally, clientISN: isn, handoff: HandoffID(handoff), backEnd: 3, now: 1)
  }
}
