// SPDX-License-Identifier: Apache-2.0

extension Responder {
  /// The one timer of a connection went off; what it means depends on the phase.
  mutating func expire(_ slot: Int, now: UInt64, into actions: inout ActionList) {
    switch table.slots[slot].phase {
    case .vacant: preconditionFailure("a vacant slot has a timer")
    case .embryonic(let retransmissions):
      guard retransmissions < configuration.synAckRetransmissions else {
        abandonHandshake(slot, .timedOut)
        return
      }
      table.slots[slot].phase = .embryonic(retransmissions: retransmissions + 1)
      tally.synAcksRetransmitted &+= 1
      sendSynAck(slot, now: now, into: &actions)
      timers.schedule(
        slot, at: now &+ configuration.retransmissionTimeout << UInt64(retransmissions + 1), now: now)
    case .collecting:
      if table.slots[slot].assembler.end == 0 {
        close(slot, .idle, now: now, into: &actions)
      } else {
        answer(slot, .requestTimeout, now: now, into: &actions)
      }
    case .deciding:
      endAttempt(.undecided)
      answer(slot, .unavailable, now: now, into: &actions)
    case .handingOff: abandonHandoff(slot, now: now, into: &actions)
    case .passed: withdraw(slot, now: now, into: &actions)
    case .closing(let closing): expireClosing(slot, closing, now: now, into: &actions)
    case .timeWait, .tombstone: remove(slot)
    }
  }
}
