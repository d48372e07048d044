// SPDX-License-Identifier: Apache-2.0

public import Glibc

/// The one place where errno is read.
public enum Syscall {
  /// Runs a system call that returns -1 on failure, again after EINTR.
  ///
  /// errno is read before anything else can run. EBADF, EFAULT and ENOTSOCK are always bugs of this process and trap.
  @inlinable
  @inline(__always)
  public static func call<Result: FixedWidthInteger & SignedInteger>(
    _ name: StaticString, _ body: () -> Result
  ) throws(SystemError) -> Result {
    while true {
      let result = body()
      if result != -1 { return result }
      let code = errno
      if code == EINTR { continue }
      throw failure(name, code)
    }
  }

  /// Like `call`, with EAGAIN as nil.
  @inlinable
  @inline(__always)
  public static func callUnlessBlocked<Result: FixedWidthInteger & SignedInteger>(
    _ name: StaticString, _ body: () -> Result
  ) throws(SystemError) -> Result? {
    while true {
      let result = body()
      if result != -1 { return result }
      let code = errno
      if code == EINTR { continue }
      if code == EAGAIN { return nil }
      throw failure(name, code)
    }
  }

  /// Like `call`, with one errno that is no failure.
  static func call(_ name: StaticString, tolerating normal: Int32, _ body: () -> Int32) throws(SystemError) {
    while true {
      if body() != -1 { return }
      let code = errno
      if code == EINTR { continue }
      if code == normal { return }
      throw failure(name, code)
    }
  }

  @usableFromInline
  @inline(never)
  static func failure(_ name: StaticString, _ code: Int32) -> SystemError {
    precondition(
      code != EBADF && code != EFAULT && code != ENOTSOCK, "\(name) failed with errno \(code): a bug of this process")
    return SystemError("\(name)", errno: code)
  }
}
