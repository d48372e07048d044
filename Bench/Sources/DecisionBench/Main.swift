// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DispatcherCore
import Foundation
import Wire

/// Decisions per second of the policy core alone, on one core: requests with Zipf targets, each connection reported as ended
/// after a while, so that the loads stay near the admission limit as in a busy cluster.
@main
struct Main {
  static func main() {
    let arguments = CommandLine.arguments
    let targets = arguments.count > 1 ? Int(arguments[1]) ?? 1_000_000 : 1_000_000
    let nodes = arguments.count > 2 ? Int(arguments[2]) ?? 16 : 16
    let requests = 10_000_000
    var zipf = ZipfTargets(targets: targets, exponent: 0.9, seed: 1)
    let stream = (0..<4_000_000).map { _ in zipf.nextTarget() }
    var results: [String: Double] = [:]
    for name in PolicyName.allCases where arguments.count < 4 || arguments[3] == name.rawValue || arguments[3] == "-v" {
      let (rate, bytes) = measure(name, stream, targets: targets, nodes: nodes, requests: requests)
      print("\(name.rawValue): \(Int(rate)) decisions/s, \(bytes) bytes/target")
      results[name.rawValue] = rate
    }
    let lard = Int(results[PolicyName.lard.rawValue] ?? 0)
    let bytes = bytesPerTarget(10_000_000)
    do {
      let wire = try WireBench(nodes: nodes, stream: stream, targets: targets)
      _ = try wire.throughput(batch: 4096, total: 1_000_000)
      let throughput = try wire.throughput(batch: 4096, total: 8_000_000)
      print(
        "wire: \(Int(throughput.perSecond)) decisions/s in batches of 4096, "
          + "\(Int(throughput.perProcessorSecond)) per second of the dispatcher's processor time")
      let (median, p99) = try wire.latency(rate: 100_000, seconds: 5)
      print("wire: median \(median) us, p99 \(p99) us at 100,000 decisions/s")
      print(
        "{\"decisions_per_second_in_process\": \(lard), \"decisions_per_second_wire\": \(Int(throughput.perSecond)), "
          + "\"p99_us_at_100k\": \(p99), \"bytes_per_target\": \(bytes)}")
    } catch {
      print("the wire could not be measured: \(error)")
      exit(1)
    }
  }

  static func measure(
    _ name: PolicyName, _ stream: [UInt64], targets: Int, nodes: Int, requests: Int
  ) -> (rate: Double, bytesPerTarget: Double) {
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
      let start = processorTime()
      let count = phase == 0 ? stream.count : requests
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
      measured = Double(processorTime() - start)
    }
    let counters = state.counters
    precondition(counters.assignedTotal == UInt64(stream.count + requests))
    if CommandLine.arguments.contains("-v") {
      print(counters.assigned, "targets", state.table.count, "given up", state.table.evictions)
    }
    return (Double(requests) / measured * 1e9, Double(state.table.storageBytes) / Double(state.table.capacity))
  }

  /// Nanoseconds of processor time of this thread, or of all threads: what others do on the machine does not count.
  static func processorTime(ofProcess: Bool = false) -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(ofProcess ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_THREAD_CPUTIME_ID, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  static func bytesPerTarget(_ targets: Int) -> Double {
    Double(TargetTable(capacity: targets).storageBytes) / Double(targets)
  }
}
