// SPDX-License-Identifier: Apache-2.0

import Foundation
import LinuxKernel

/// Nanoseconds of processor time: what others do on the machine does not count.
enum ProcessorTime {
  static func ofThread() -> UInt64 { read(CLOCK_THREAD_CPUTIME_ID) }
  static func ofProcess() -> UInt64 { read(CLOCK_PROCESS_CPUTIME_ID) }

  private static func read(_ clock: clockid_t) -> UInt64 {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}

enum Machine {
  /// Ties this thread, and those that it starts from now on, to one processor; does nothing where there is no such one.
  static func pin(to processor: Int) { try? WorkerThread.pin(to: UInt32(processor)) }

  /// Lets all threads of this process go before everybody else's, or stop doing so; false without the privilege. On a busy
  /// machine the latency of a thread that sleeps is otherwise the scheduler's, not the program's.
  static func setRealTime(_ isOn: Bool) -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["chrt", "-a", isOn ? "-f" : "-o", "-p", isOn ? "1" : "0", "\(getpid())"]
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }

  static var processors: Int { ProcessInfo.processInfo.processorCount }

  /// Of the last minute.
  static var loadAverage: Double {
    var averages = [0.0]
    return unsafe getloadavg(&averages, 1) == 1 ? averages[0] : 0
  }
}
