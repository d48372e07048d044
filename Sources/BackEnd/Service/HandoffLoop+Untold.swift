// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ControlChannel
import ControlProtocol
import ForwardingPlane
import LinuxKernel
import Logging
import Wire

/// Finding connections of the web server that nobody told of: a predecessor's, and those whose end the kernel did not tell.
extension HandoffLoop {
  /// A connection is younger than this as a rule when it ends: older ones are worth a look after losses.
  private static let suspectAge: UInt64 = 1_500_000_000

  /// Nanoseconds: longer than any distributor waits before it asks for a handoff by message.
  private static let abandonedAge: UInt64 = 60_000_000_000

  /// Once a second: finds the handoffs by packet of whose establishment the kernel did not tell, and removes those that no
  /// connection came of and that nobody asks for any more.
  mutating func lookAtLeftovers(_ direct: DirectInstaller, _ now: UInt64) {
    for (leftover, age) in direct.leftovers.look(direct.plane.pending.leftovers(loop: direct.loop), now: now) {
      let name = PacketHandoffName(origin: leftover.origin, id: leftover.id)
      // Asked for by message: that is where it is settled.
      if age == 0 || packets[name] != nil { continue }
      let flow = leftover.flow
      if leftover.isAssigned, let found = try? diagnostics.tcpSocket(local: flow.service, remote: flow.client),
        found.state != .timeWait, direct.plane.pending.remove(flow)
      {
        begin(name, flow)
        guard let index = packets[name] else { continue }
        try? direct.plane.adopt(flow, token: token(.direct, Int(index)), loop: direct.loop, now: now)
      } else if age >= HandoffLoop.abandonedAge {
        _ = direct.plane.pending.remove(flow)
      }
    }
  }

  /// Once a second: finds the connections whose end was not told. The kernel skips the tracepoint's program where it meets
  /// itself, which is every now and then under load.
  mutating func compareWithKernel(_ direct: DirectInstaller, _ now: UInt64) {
    lookAtLeftovers(direct, now)
    let look = direct.comparison.sweep(
      losses: direct.plane.losses(), active: totals.active, isEnding: mode != .serving)
    if look == .nothing { return }
    if look == .all { return compareAll(direct) }
    drainEvents(direct)
    var found = suspects(now, from: direct.nextLook, most: ComparisonPlan.many + 1)
    if found.count > ComparisonPlan.many, look == .eachOrAll { return compareAll(direct) }
    if found.count > ComparisonPlan.many || look == .some { found = Array(found.prefix(ComparisonPlan.few)) }
    for index in found {
      direct.nextLook = index + 1
      lookAt(index)
    }
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
    direct.comparison.dumped()
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
      direct.comparison.suspect()
      logger.warning("comparing with the kernel's connections failed, to be tried again: \(error)")
      return
    }
    for index in slots.indices {
      guard case .direct = slots[index].phase, !open.contains(slots[index].flow) else { continue }
      // A dump of several messages may skip a socket when others go meanwhile.
      lookAt(index)
    }
  }

  /// A distributor's worker has come back: says which of the connections that it knows are over. This agent need not know
  /// them: they may be another loop's, or have ended while no agent ran.
  mutating func tellEnded(of flows: [FlowTuple], to connection: ControlConnection) {
    let ended = closed(flows)
    if !ended.isEmpty { connection.send(.flowsEnded(ended)) }
  }

  /// Those of which the kernel has no connection.
  mutating func closed(_ flows: [FlowTuple]) -> [FlowTuple] {
    do throws(SystemError) {
      var missing = try absent(flows)
      // A dump of several messages may skip a socket when others go meanwhile.
      if missing.count > ComparisonPlan.many { missing = try absent(missing) }
      if missing.count > ComparisonPlan.many { return missing }
      var ended: [FlowTuple] = []
      for flow in missing {
        let found = try diagnostics.tcpSocket(local: flow.service, remote: flow.client)
        if found == nil || found?.state == .timeWait { ended.append(flow) }
      }
      return ended
    } catch {
      // The flows leave when they have been silent.
      logger.warning("a distributor cannot be told which of its connections are over: \(error)")
      return []
    }
  }

  /// Those that are not in a dump of all connections at their ports.
  private mutating func absent(_ flows: [FlowTuple]) throws(SystemError) -> [FlowTuple] {
    if flows.count <= ComparisonPlan.few { return flows }
    var open: Set<FlowTuple> = []
    for port in Set(flows.map(\.service.port)) {
      for socket in try diagnostics.tcpSockets(localPort: port) {
        open.insert(FlowTuple(client: socket.remote, service: socket.local))
      }
    }
    return flows.filter { !open.contains($0) }
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
        // Nobody's: all distributors are told of its end.
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
    direct.comparison.suspect()
  }
}
