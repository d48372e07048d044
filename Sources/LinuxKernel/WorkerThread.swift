// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Synchronization

/// A named POSIX thread for one event loop.
public final class WorkerThread: Sendable {
  private let thread: Mutex<pthread_t?>

  /// - Parameter name: at most 15 bytes are kept by the kernel.
  public init(name: String, _ body: @escaping @Sendable () -> Void) {
    let box = unsafe Unmanaged.passRetained(Body(name: name, run: body))
    var thread = pthread_t()
    let code = unsafe pthread_create(&thread, nil, runBody, box.toOpaque())
    precondition(code == 0, "pthread_create failed with \(code)")
    self.thread = Mutex(thread)
  }

  /// Lets the calling thread's timers fire up to `nanoseconds` late (PR_SET_TIMERSLACK; 50,000 by default).
  public static func setTimerSlack(nanoseconds: UInt) { _ = clinux_set_timer_slack(nanoseconds) }

  /// Waits for the thread to end; may be called once or often.
  public func join() {
    let thread = self.thread.withLock { value -> pthread_t? in
      defer { value = nil }
      return value
    }
    if let thread { pthread_join(thread, nil) }
  }

  /// Ties the calling thread, and those that it starts from now on, to one processor.
  ///
  /// - Throws: when there is no such processor, or this process may not use it.
  public static func pin(to processor: UInt32) throws(SystemError) {
    _ = try Syscall.call("sched_setaffinity") { clinux_pin_thread(processor) }
  }

  fileprivate final class Body: Sendable {
    let name: String
    let run: @Sendable () -> Void
    init(name: String, run: @escaping @Sendable () -> Void) {
      self.name = name
      self.run = run
    }
  }
}

private func runBody(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  let body = unsafe Unmanaged<WorkerThread.Body>.fromOpaque(context!).takeRetainedValue()
  _ = unsafe clinux_set_thread_name(body.name)
  body.run()
  return nil
}

/// Wakes an event loop from another thread: an eventfd to be added to its epoll.
public final class WakeUp: Sendable {
  private let descriptor: OwnedDescriptor

  public init() throws(SystemError) {
    descriptor = OwnedDescriptor(owning: try Syscall.call("eventfd") { eventfd(0, 0x80800) })
  }

  public var raw: Int32 { descriptor.raw }

  public func signal() {
    var one: UInt64 = 1
    _ = unsafe write(raw, &one, 8)
  }

  /// Makes the descriptor unreadable again.
  public func clear() {
    var count: UInt64 = 0
    _ = unsafe read(raw, &count, 8)
  }
}
