// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DispatcherCore
import Foundation
import Wire

/// Decisions of the policy core alone, on one core: requests with Zipf targets, each connection reported as ended after a
/// while, so that the loads stay near the admission limit as in a busy cluster.
enum PolicyBench {
  /// - Parameter warmUp: requests before the clock starts.
  static func measure(
    _ name: PolicyName, _ stream: [UInt64], targets: Int, nodes: Int, warmUp: Int, requests: Int
  ) -> (perSecond: Double, bytesPerTarget: Double) {
    var parameters = DispatcherParameters.with(name)
    parameters.tableCapacity = targets
    parameters.slowStart = 0
    var state = DispatcherState(parameters)
    var actions: [DispatcherState.Action] = []
    for node in 0..<nodes {
      let registration = BackEndRegistration(
        address: IPAddress(ipv4: 0x0a00_0000 + UInt32(node)), mac: MACAddress(bits: UInt64(node)), handoffPort: 7001,
        serverPort: 8080, weight: 100, maximumConnections: 100_000)
      state.handle(
        .registerBackEnd(PeerID(UInt64(node)), name: "node-\(node)", instance: 1, registration), now: 0, &actions)
      state.handle(
        .report(PeerID(UInt64(node)), LoadReport(ended: 0, active: 0, state: .up)), now: 0, &actions)
    }
    let distributor = PeerID(1000)
    var active = [UInt32](repeating: 0, count: nodes)
    var ended = [UInt32](repeating: 0, count: nodes)
    // Open connections in the order of their assignment; the oldest end first.
    var open = [UInt8](repeating: 0, count: 4096)
    var opened = 0
    var closed = 0
    let keptOpen = max(1, Int(state.admissionLimit) * 3 / 4 - 128)
    // Warm the table before the clock starts.
    var measured = 0.0
    var now: UInt64 = 1
    for phase in 0..<2 {
      let start = ProcessorTime.ofThread()
      let count = phase == 0 ? warmUp : requests
      var index = 0
      while index < count {
        // A batch as it comes from one distributor, then one report of each node.
        let end = min(count, index + 256)
        actions.removeAll(keepingCapacity: true)
        while index < end {
          state.handle(
            .request(
              distributor, DecisionRequest(id: UInt64(index), target: stream[index % stream.count])),
            now: now, &actions)
          index += 1
        }
        for action in actions {
          if case .answer(_, let decision) = action, case .assigned(let id) = decision.outcome {
            active[Int(id.rawValue)] += 1
            open[opened & 4095] = UInt8(id.rawValue)
            opened += 1
          }
        }
        now += 50_000
        while opened - closed > keptOpen {
          ended[Int(open[closed & 4095])] += 1
          closed += 1
        }
        for node in 0..<nodes {
          active[node] -= ended[node]
          state.handle(
            .report(PeerID(UInt64(node)), LoadReport(ended: ended[node], active: active[node], state: .up)), now: now,
            &actions)
          ended[node] = 0
        }
      }
      measured = Double(ProcessorTime.ofThread() - start)
    }
    let counters = state.counters
    precondition(counters.assignedTotal == UInt64(warmUp + requests), "every request gets a node at once")
    return (Double(requests) / measured * 1e9, Double(state.table.storageBytes) / Double(state.table.capacity))
  }

  static func bytesPerTarget(_ targets: Int) -> Double {
    Double(TargetTable(capacity: targets).storageBytes) / Double(targets)
  }

  /// Nanoseconds of processor time to read one request of a full batch and to write one decision: the codec without
  /// sockets.
  static func codecNanoseconds(batch: Int, rounds: Int) -> Double {
    var frame: [UInt8] = []
    Message.decisionRequests((0..<batch).map { DecisionRequest(id: UInt64($0), target: UInt64($0)) })
      .encode(into: &frame)
    var out: [UInt8] = []
    var read = 0
    let start = ProcessorTime.ofThread()
    for _ in 0..<rounds {
      let body = frame.span.extracting(FrameHeader.length..<frame.count)
      guard case .decisionRequests(let requests) = try? Message.decode(type: frame[4], body: body) else { continue }
      read += requests.count
      out.removeAll(keepingCapacity: true)
      Message.decisions(requests.map { Decision(id: $0.id, outcome: .assigned(BackEndID(3))) }).encode(into: &out)
    }
    precondition(read == batch * rounds, "every batch is read")
    return Double(ProcessorTime.ofThread() - start) / Double(read)
  }
}
