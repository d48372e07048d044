// SPDX-License-Identifier: Apache-2.0

import ControlProtocol
import DistributorCore
import ForwardingPlane
import LinuxKernel
import Synchronization
import Telemetry

/// What the workers of one distributor and the thread that started them share.
final class DistributorShared: Sendable {
  let flowTable: FlowTable
  let handshake: HandshakeTable
  /// Nil when every handoff is a worker's.
  let leasePlane: LeasePlane?
  let reach: ReachFinder
  /// The present secrets; worker 0 rotates them.
  let keys: Published<HandshakeKeys>
  /// Worker 0 looks after it.
  let driver: DriverPart
  let answersInKernel: Bool
  let wakeUps: [WakeUp]
  /// Set when the role is asked to end: the time at which it ends whatever is still open.
  let drainDeadline = Published<UInt64?>(nil)
  /// A worker has ended, asked or not.
  let hasEnded = Published(false)
  let statistics: [Published<DistributorStatistics>]
  private let dispatcherReady: Mutex<[Bool]>
  private let numbers = Mutex(BackEndNumbers())

  init(
    flowTable: FlowTable, handshake: HandshakeTable, leasePlane: LeasePlane?, reach: ReachFinder, keys: HandshakeKeys,
    driver: DriverPart, answersInKernel: Bool, workers: Int
  ) throws(SystemError) {
    self.flowTable = flowTable
    self.handshake = handshake
    self.leasePlane = leasePlane
    self.reach = reach
    self.keys = Published(keys)
    self.driver = driver
    self.answersInKernel = answersInKernel
    var wakeUps: [WakeUp] = []
    for _ in 0..<workers { wakeUps.append(try WakeUp()) }
    self.wakeUps = wakeUps
    statistics = (0..<workers).map { _ in Published(DistributorStatistics()) }
    dispatcherReady = Mutex(Array(repeating: false, count: workers))
  }

  func setReady(worker: Int, dispatcher: Bool) {
    dispatcherReady.withLock { $0[worker] = dispatcher }
  }

  /// This distributor's numbers for the nodes of a view.
  func numbers(of view: ClusterView) -> [UInt16?] { numbers.withLock { $0.assign(view.backEnds) } }

  var isEveryWorkerConnected: Bool { dispatcherReady.withLock { $0.allSatisfy { $0 } } }
}
