// SPDX-License-Identifier: Apache-2.0

import Glibc
public import LinuxKernel
import Synchronization

/// A network namespace in which the real thing can be tried without anybody noticing: programs are attached, rules set and
/// connections made there, and all of it goes with the thread that did so.
public enum TrialNamespace {
  /// Its only interface.
  public static let interface = "lo"
  /// The kernel makes it first in every namespace.
  public static let interfaceIndex: UInt32 = 1

  /// Runs `body` on a thread in a new namespace whose loopback interface is up.
  ///
  /// - Throws: EPERM without CAP_SYS_ADMIN.
  public static func perform(
    _ body: @Sendable @escaping () -> [DoctorFinding]
  ) throws(SystemError) -> [DoctorFinding] {
    let box = Box()
    let thread = WorkerThread(name: "trial") {
      do throws(SystemError) {
        try NetworkNamespaceEntry.enterNew()
        var netlink = try NetlinkSocket(.route)
        guard let loopback = try netlink.interface(named: interface) else {
          throw SystemError("RTM_GETLINK", interface, errno: ENODEV)
        }
        try netlink.setUp(interface: loopback.index)
        box.set(.success(body()))
      } catch {
        box.set(.failure(error))
      }
    }
    thread.join()
    return try box.take().get()
  }

  private final class Box: Sendable {
    private let value = Mutex<Result<[DoctorFinding], SystemError>?>(nil)

    func set(_ result: Result<[DoctorFinding], SystemError>) { value.withLock { $0 = result } }

    func take() -> Result<[DoctorFinding], SystemError> {
      guard let result = value.withLock({ $0 }) else { preconditionFailure("the thread left nothing") }
      return result
    }
  }
}
