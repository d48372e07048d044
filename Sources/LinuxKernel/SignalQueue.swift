// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Signals as a descriptor (signalfd) instead of handlers.
///
/// To be made before any other thread: the signals are blocked in the calling thread, and threads inherit that.
public struct SignalQueue: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// The numbers are the same on every Linux architecture that Swift supports.
  public enum Signal: Int32, Sendable, Hashable {
    case hangUp = 1
    case interrupt = 2
    case terminate = 15
  }

  public init(_ signals: [Signal]) throws(SystemError) {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    for signal in signals { unsafe sigaddset(&set, signal.rawValue) }
    unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    let flags = Int32(0x80800)  // SFD_CLOEXEC | SFD_NONBLOCK
    descriptor = OwnedDescriptor(owning: try Syscall.call("signalfd") { unsafe signalfd(-1, &set, flags) })
  }

  /// For an epoll.
  public var raw: Int32 { descriptor.raw }

  /// The next signal that came, nil when none waits.
  public func next() -> Signal? {
    var information = signalfd_siginfo()
    let raw = descriptor.raw
    let size = MemoryLayout<signalfd_siginfo>.size
    let count = try? Syscall.callUnlessBlocked("read") { unsafe read(raw, &information, size) }
    guard count == size else { return nil }
    return Signal(rawValue: Int32(bitPattern: information.ssi_signo))
  }

  /// Writes to a closed socket or pipe return EPIPE instead of ending the process.
  public static func ignoreBrokenPipes() { _ = signal(SIGPIPE, SIG_IGN) }
}
