// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// Waiting for the kernel to be done with what it was just doing.
public enum KernelBarrier {
  /// Waits until every packet that the kernel was processing at the call is processed: it does so in RCU read sections
  /// (`process_backlog`, `netif_receive_skb`), and membarrier(2) waits for those (`synchronize_rcu`). Takes a few to some
  /// tens of milliseconds.
  ///
  /// - Throws: EINVAL where a CPU runs without a tick (nohz_full), ENOSYS without CONFIG_MEMBARRIER.
  public static func wait() throws(SystemError) {
    _ = try Syscall.call("membarrier") { clinux_membarrier_global() }
  }

  /// The same; where the kernel has no such call, a wait that is longer than any packet takes.
  public static func waitOrSleep() {
    do throws(SystemError) {
      try wait()
    } catch {
      // 50 ms: a CPU that processes packets for longer without a pause hands over to ksoftirqd (net.core.netdev_budget_usecs).
      usleep(50_000)
    }
  }
}
