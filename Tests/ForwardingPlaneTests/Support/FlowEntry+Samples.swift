// SPDX-License-Identifier: Apache-2.0

import ForwardingPlane
import Handoff
import Wire

extension FlowEntry {
  static let isn = SequenceNumber(4999)
  /// What the sample frames acknowledge: nothing that a back-end has sent.
  static let sampleSendNext: UInt16 = 77

  static func forwarding(
    to mac: MACAddress = Addresses.backEndMAC, handoff: UInt64 = 7, backEnd: UInt16 = 3, lastSeen: UInt64 = 1,
    sendNext: UInt16 = FlowEntry.sampleSendNext
  ) -> FlowEntry {
    FlowEntry(
      action: .forward(to: mac), clientISN: isn, handoff: HandoffID(handoff), backEnd: backEnd, now: lastSeen,
      sendNext: sendNext)
  }

  static func local(handoff: UInt64 = 7) -> FlowEntry {
    FlowEntry(
      action: .deliverLocally, clientISN: isn, handoff: HandoffID(handoff), backEnd: 3, now: 1, sendNext: sampleSendNext
    )
  }
}
