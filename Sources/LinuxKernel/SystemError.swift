// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A system call that failed: which one, on what, and errno.
public struct SystemError: Error, Hashable, Sendable {
  public var call: String
  /// What the call was about: an address, an interface, a file. Empty when the call says it all.
  public var subject: String
  public var errno: Int32

  public init(_ call: String, _ subject: String = "", errno: Int32) {
    self.call = call
    self.subject = subject
    self.errno = errno
  }

  /// The same error with the thing named that the caller was working on.
  public func on(_ subject: String) -> SystemError { SystemError(call, subject, errno: errno) }
}

extension SystemError: CustomStringConvertible {
  public var description: String {
    let reason = unsafe String(cString: strerror(errno))
    return subject.isEmpty ? "\(call): \(reason)" : "\(call) on \(subject): \(reason)"
  }
}
