// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel

/// Cleans up when the user presses Ctrl-C or the process is told to end.
enum Interruption {
  /// To be called before anything of the lab is made: the signals are then blocked in every thread.
  static func watch() throws {
    let signals = try SignalBox()
    _ = WorkerThread(name: "signals") {
      guard var epoll = try? Epoll(capacity: 1) else { return }
      guard (try? epoll.add(signals.queue.raw, .read, token: 0)) != nil else { return }
      while signals.queue.next() == nil { _ = epoll.wait(until: nil) }
      let left = LabRun.endAll()
      for line in left { Console.error("bench: \(line) could not be removed") }
      Console.error("bench: interrupted, everything is removed")
      exit(130)
    }
  }

  private final class SignalBox: Sendable {
    let queue: SignalQueue
    init() throws { queue = try SignalQueue([.hangUp, .interrupt, .terminate]) }
  }
}

/// The two streams of a command line tool.
enum Console {
  static func line(_ text: String) {
    print(text)
    _ = fflush(nil)
  }

  static func error(_ text: String) {
    let bytes = Array((text + "\n").utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
  }
}
