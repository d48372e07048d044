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

  /// What an options struct of libbpf says as its own size: up to the end of its last field. libbpf refuses bytes behind
  /// it that are not zero, and Swift does not keep padding zero.
  static func size<Options>(through last: PartialKeyPath<Options>, bytes: Int) -> Int {
    guard let offset = MemoryLayout<Options>.offset(of: last) else { preconditionFailure("not a stored field") }
    return offset + bytes
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
