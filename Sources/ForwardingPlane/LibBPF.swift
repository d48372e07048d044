// SPDX-License-Identifier: Apache-2.0

import Clibbpf
import Glibc
import LinuxKernel

/// libbpf's way of failing.
enum LibBPF {
  /// Runs a function of libbpf that returns a negative errno on failure.
  @inline(__always)
  static func call(_ name: StaticString, _ body: () -> Int32) throws(SystemError) -> Int32 {
    while true {
      let result = body()
      if result >= 0 { return result }
      if result == -EINTR { continue }
      throw SystemError("\(name)", errno: -result)
    }
  }
}

/// A descriptor with several users; closed when the last one goes.
final class SharedDescriptor: Sendable {
  private let descriptor: OwnedDescriptor

  init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

  /// A second descriptor of the same object, close-on-exec.
  init(duplicating other: Int32) throws(SystemError) {
    descriptor = OwnedDescriptor(owning: try Syscall.call("fcntl") { fcntl(other, F_DUPFD_CLOEXEC, 0) })
  }

  var raw: Int32 { descriptor.raw }
}
