// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Moves a thread into another network namespace.
public enum NetworkNamespaceEntry {
  /// The calling thread enters the namespace bound to `path` (`/run/netns/NAME` or `/proc/PID/ns/net`) and stays there:
  /// use a thread that ends with its work. Sockets that it opens and processes that it starts belong to the namespace.
  ///
  /// Needs CAP_SYS_ADMIN. Throws ENOENT when there is no such namespace, EPERM without the capability (setns(2)).
  public static func enter(_ path: String) throws(SystemError) {
    let raw: Int32
    do {
      raw = try Syscall.call("open") { unsafe open(path, O_RDONLY | O_CLOEXEC) }
    } catch {
      throw error.on(path)
    }
    let descriptor = OwnedDescriptor(owning: raw)
    let own = descriptor.raw
    do {
      _ = try Syscall.call("setns") { clinux_setns_network(own) }
    } catch {
      throw error.on(path)
    }
  }
}

extension NetworkNamespaceEntry {
  /// The calling thread enters a namespace that is new and empty and stays there: use a thread that ends with its work. The
  /// namespace goes with the thread and its sockets, and all that was put into it.
  ///
  /// Needs CAP_SYS_ADMIN (unshare(2)).
  public static func enterNew() throws(SystemError) {
    _ = try Syscall.call("unshare") { clinux_unshare_network() }
  }
}
