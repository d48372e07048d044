// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// One epoll instance with its event buffer. A service's driver is a loop over `wait` and a switch over tokens; there
/// are no callbacks.
@safe
public struct Epoll: ~Copyable {
  private let descriptor: OwnedDescriptor
  private var events: [epoll_event]

  public struct Interest: OptionSet, Sendable, BitwiseCopyable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let read = Interest(rawValue: 0x001)
    public static let write = Interest(rawValue: 0x004)
    public static let error = Interest(rawValue: 0x008)
    public static let hangUp = Interest(rawValue: 0x010)
    public static let peerHangUp = Interest(rawValue: 0x2000)
    public static let edgeTriggered = Interest(rawValue: 1 << 31)
  }

  /// One ready descriptor: the token it was registered with, and what it is ready for.
  public struct Ready: Sendable, BitwiseCopyable {
    public var token: UInt64
    public var interest: Interest
  }

  /// - Parameter capacity: events taken per `wait`.
  public init(capacity: Int = 256) throws(SystemError) {
    descriptor = OwnedDescriptor(owning: try Syscall.call("epoll_create1") { epoll_create1(0x80000) })
    unsafe events = unsafe Array(repeating: epoll_event(), count: capacity)
  }

  /// For the epoll instance of a loop that this one is a part of: readable while an event is there.
  public var raw: Int32 { descriptor.raw }

  public func add(_ descriptor: Int32, _ interest: Interest, token: UInt64) throws(SystemError) {
    try control(EPOLL_CTL_ADD, descriptor, interest, token)
  }

  public func modify(_ descriptor: Int32, _ interest: Interest, token: UInt64) throws(SystemError) {
    try control(EPOLL_CTL_MOD, descriptor, interest, token)
  }

  /// Closing a descriptor removes it too, unless it was duplicated.
  public func remove(_ descriptor: Int32) throws(SystemError) {
    try control(EPOLL_CTL_DEL, descriptor, [], 0)
  }

  private func control(
    _ operation: Int32, _ target: Int32, _ interest: Interest, _ token: UInt64
  ) throws(SystemError) {
    var event = unsafe epoll_event()
    unsafe event.events = interest.rawValue
    unsafe event.data.u64 = token
    let own = descriptor.raw
    _ = try Syscall.call("epoll_ctl") { unsafe epoll_ctl(own, operation, target, &event) }
  }

  /// Waits at most until `deadline` (nanoseconds of `MonotonicTime`; nil waits for ever) and returns how many are ready;
  /// read them with `ready(_:)` before the next wait.
  public mutating func wait(until deadline: UInt64?) -> Int {
    var timeout: Int32 = -1
    if let deadline {
      let now = MonotonicTime.now()
      // Rounded up: waking a moment early would spin until the deadline.
      timeout = deadline <= now ? 0 : Int32(clamping: (deadline - now + 999_999) / 1_000_000)
    }
    let own = descriptor.raw
    let capacity = Int32(unsafe events.count)
    let count = unsafe events.withUnsafeMutableBufferPointer { buffer in
      unsafe epoll_wait(own, buffer.baseAddress, capacity, timeout)
    }
    return max(0, Int(count))
  }

  /// `wait` with a timeout that is not rounded to milliseconds (epoll_pwait2, Linux 5.11).
  public mutating func wait(untilExactly deadline: UInt64) -> Int {
    let now = MonotonicTime.now()
    let left = deadline <= now ? 0 : deadline - now
    let own = descriptor.raw
    let capacity = Int32(unsafe events.count)
    let count = unsafe events.withUnsafeMutableBufferPointer { buffer in
      unsafe clinux_epoll_pwait2(
        own, buffer.baseAddress, capacity, Int(left / 1_000_000_000), Int(left % 1_000_000_000))
    }
    return max(0, Int(count))
  }

  /// Event `index` of the last `wait`.
  public func ready(_ index: Int) -> Ready {
    let event = unsafe events[index]
    return unsafe Ready(token: event.data.u64, interest: Interest(rawValue: event.events))
  }
}
