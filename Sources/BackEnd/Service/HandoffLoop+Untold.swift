// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ControlProtocol
import ForwardingPlane
import LinuxKernel
import Logging
import Wire

/// Finding connections of the web server that nobody told of: a predecessor's, and those whose end the kernel did not tell.
extension HandoffLoop {
  /// A connection is younger than this as a rule when it ends: older ones are worth a look after losses.
  private static let suspectAge: UInt64 = 1_500_000_000
  /// Of those, so many are looked at in every sweep for no reason: about 0.1 ms.
  private static let looksInTurn = 16
  /// Looks at single connections beyond which one dump of all is cheaper.
  private static let singleLooks = 128
  /// Sweeps between comparisons for no reason, as a connection can also end between the look that found it untold and its
  /// entry among those whose end is told.
  private static let sweepsBetween = 60

  /// Once a second: finds the connections whose end was not told. The kernel skips the tracepoint's program where it meets
  /// itself, which is every now and then under load, and counts most of that only: all connections beyond the usual age are
  /// looked at after losses and while draining, some in turn at other times. A dump of all sockets for each loss would be a
  /// third of all that the agent costs.
  mutating func compareWithKernel(_ direct: DirectInstaller, _ now: UInt64) {
    let losses = direct.plane.losses()
    if losses != direct.losses {
      direct.losses = losses
      // What ended untold just now is old enough after some sweeps.
      direct.suspectSweeps = 4
    }
    direct.sweepsSinceComparison += 1
    if totals.active == 0 { return }
    if direct.sweepsSinceComparison >= HandoffLoop.sweepsBetween {
      compareAll(direct)
      return
    }
    // The end of the agent waits for each of them.
    if mode != .serving { direct.suspectSweeps = max(1, direct.suspectSweeps) }
    drainEvents(direct)
    if direct.suspectSweeps == 0 {
      for index in suspects(now, from: direct.nextLook, most: HandoffLoop.looksInTurn) {
        direct.nextLook = index + 1
        lookAt(index)
      }
      return
    }
    direct.suspectSweeps -= 1
    let found = suspects(now, from: 0, most: HandoffLoop.singleLooks + 1)
    if found.count > HandoffLoop.singleLooks {
      if direct.suspectSweeps == 0 { compareAll(direct) }
      return
    }
    for index in found { lookAt(index) }
  }

  /// Slots of connections that are older than most are when they end, in turn from this one on.
  private func suspects(_ now: UInt64, from first: Int, most: Int) -> [Int] {
    var found: [Int] = []
    for step in slots.indices {
      let index = (first + step) % slots.count
      guard case .direct = slots[index].phase, now &- min(now, slots[index].lastActivity) >= HandoffLoop.suspectAge
      else { continue }
      found.append(index)
      if found.count == most { break }
    }
    return found
  }

  /// Asks the kernel for one connection, and counts it as over when there is none.
  private mutating func lookAt(_ index: Int) {
    guard case .direct = slots[index].phase else { return }
    let flow = slots[index].flow
    do throws(SystemError) {
      let found = try diagnostics.tcpSocket(local: flow.service, remote: flow.client)
      if found == nil || found?.state == .timeWait { retire(index, .unobserved, countsEnded: true) }
    } catch {
      logger.warning("looking for \(flow) failed: \(error)")
    }
  }

  private mutating func compareAll(_ direct: DirectInstaller) {
    direct.sweepsSinceComparison = 0
    drainEvents(direct)
    var open: Set<FlowTuple> = []
    var ports: Set<UInt16> = []
    for slot in slots { if case .direct = slot.phase { ports.insert(slot.flow.service.port) } }
    do throws(SystemError) {
      for port in ports {
        for socket in try diagnostics.tcpSockets(localPort: port) {
          open.insert(FlowTuple(client: socket.remote, service: socket.local))
        }
      }
    } catch {
      // A number that the counters never have: the next sweep looks again.
      direct.losses = .max
      logger.warning("comparing with the kernel's connections failed, to be tried again: \(error)")
      return
    }
    for index in slots.indices {
      guard case .direct = slots[index].phase, !open.contains(slots[index].flow) else { continue }
      // A dump of several messages may skip a socket when others go meanwhile.
      lookAt(index)
    }
  }

  /// Takes over what a killed agent left with the web server: it counts as load and is waited for when draining.
  mutating func adoptPredecessors(_ services: [Endpoint], _ now: UInt64) {
    guard let direct else { return }
    var adopted = 0
    for port in Set(services.map(\.port)) {
      let sockets: [DiagnosedSocket]
      do {
        sockets = try diagnostics.tcpSockets(localPort: port)
      } catch {
        logger.warning("the connections of an earlier agent cannot be found: \(error)")
        continue
      }
      for socket in sockets where services.contains(socket.local) && budget.take() {
        let flow = FlowTuple(client: socket.remote, service: socket.local)
        let index = newSlot()
        slots[index].phase = .direct
        slots[index].flow = flow
        // Nobody's: its distributor finds the end by the silence of the flow.
        slots[index].peer = PeerReference(index: .max, generation: 0)
        do {
          try direct.plane.adopt(flow, token: token(.direct, index), loop: direct.loop, now: now)
        } catch {
          freeSlot(index)
          continue
        }
        tally.connectionAdopted()
        totals.active += 1
        adopted += 1
      }
    }
    if adopted > 0 { logger.notice("adopted \(adopted) connections that an earlier agent had installed") }
    // Some may have ended between the look and the entry.
    direct.losses = .max
  }
}
