// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Synchronization

/// A program started by this process, in a process group of its own so that a terminal's Ctrl-C does not reach it.
public final class ChildProcess: Sendable {
  public let pid: Int32
  private let pidDescriptor: OwnedDescriptor
  private let ended: Mutex<ExitStatus?>

  public enum ExitStatus: Hashable, Sendable {
    case exited(Int32)
    case killed(signal: Int32)

    public var isSuccess: Bool { self == .exited(0) }
  }

  /// What a child's standard streams are; the descriptors are borrowed for the call.
  public struct Streams: Sendable {
    public var input: Int32
    public var output: Int32
    public var error: Int32

    public init(input: Int32, output: Int32, error: Int32) {
      self.input = input
      self.output = output
      self.error = error
    }
  }

  /// Starts a program in the network namespace of the calling thread.
  ///
  /// All signals have their default action and none is blocked; no descriptor but 0, 1 and 2 is inherited.
  ///
  /// - Parameter arguments: the program (looked up in PATH when it has no slash) and its arguments.
  /// - Parameter environment: `NAME=value` entries.
  public init(
    _ arguments: [String], environment: [String], directory: String?, streams: Streams
  ) throws(SystemError) {
    precondition(!arguments.isEmpty)
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    // Moved above 2 first by the caller's open: dup2 of 0, 1, 2 onto themselves would keep close-on-exec.
    unsafe posix_spawn_file_actions_adddup2(&actions, streams.input, 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, streams.output, 1)
    unsafe posix_spawn_file_actions_adddup2(&actions, streams.error, 2)
    unsafe clinux_spawn_close_from(&actions, 3)
    if let directory { unsafe clinux_spawn_in_directory(&actions, directory) }

    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var all = sigset_t()
    unsafe sigfillset(&all)
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigdefault(&attributes, &all)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setpgroup(&attributes, 0)
    let flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP
    unsafe posix_spawnattr_setflags(&attributes, Int16(flags))

    var pid: pid_t = 0
    let code = unsafe CStringArray.with(arguments) { argv in
      unsafe CStringArray.with(environment) { envp in
        unsafe posix_spawnp(&pid, arguments[0], &actions, &attributes, argv, envp)
      }
    }
    guard code == 0 else { throw SystemError("posix_spawn", arguments[0], errno: code) }
    self.pid = pid
    let child = pid
    pidDescriptor = OwnedDescriptor(owning: try Syscall.call("pidfd_open") { clinux_pidfd_open(child) })
    ended = Mutex(nil)
  }

  /// Waits for the end, at most until `deadline` (nanoseconds of `MonotonicTime`; nil waits for ever). Nil when the
  /// program still runs then.
  public func wait(until deadline: UInt64?) -> ExitStatus? {
    while true {
      if let status = reap() { return status }
      var timeout: Int32 = -1
      if let deadline {
        let now = MonotonicTime.now()
        if now >= deadline { return nil }
        timeout = Int32(clamping: (deadline - now + 999_999) / 1_000_000)
      }
      var entry = pollfd(fd: pidDescriptor.raw, events: Int16(POLLIN), revents: 0)
      _ = unsafe poll(&entry, 1, timeout)
    }
  }

  /// Sends a signal; nothing happens when the program has ended.
  public func signal(_ number: Int32) {
    ended.withLock { status in
      // Under the lock: the pid is not reused before it is reaped.
      if status == nil { _ = kill(pid, number) }
    }
  }

  private func reap() -> ExitStatus? {
    ended.withLock { status -> ExitStatus? in
      if let status { return status }
      var raw: Int32 = 0
      guard unsafe waitpid(pid, &raw, WNOHANG) == pid else { return nil }
      let signal = raw & 0x7f
      status = signal == 0 ? .exited((raw >> 8) & 0xff) : .killed(signal: signal)
      return status
    }
  }
}

/// NULL-terminated arrays of C strings.
private enum CStringArray {
  static func with<Result>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
  ) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = unsafe strings.map { unsafe strdup($0) }
    unsafe pointers.append(nil)
    defer { unsafe pointers.forEach { unsafe free($0) } }
    return unsafe pointers.withUnsafeBufferPointer { unsafe body($0.baseAddress!) }
  }
}
