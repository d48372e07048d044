// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxKernel

/// Why connections cannot be given to the web server directly, and what to do about it: sentences for an operator.
public struct ServePlaneError: Error, Hashable, Sendable {
  public var problem: String
  public var remedy: String

  public init(_ problem: String, remedy: String) {
    self.problem = problem
    self.remedy = remedy
  }

  /// The capabilities that loading and attaching need.
  public static let capabilities = "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"

  static func notPermitted(_ call: String) -> ServePlaneError {
    ServePlaneError(
      "\(call) is not permitted", remedy: "Run as root or give the process \(ServePlaneError.capabilities)")
  }

  static func failed(_ error: SystemError) -> ServePlaneError {
    if error.errno == EPERM || error.errno == EACCES { return notPermitted(error.call) }
    return ServePlaneError(
      "\(error)",
      remedy: "The kernel needs CONFIG_BPF_SYSCALL, CONFIG_BPF_EVENTS, CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS")
  }

  init(_ error: ForwardingPlaneError) {
    self.init("\(error)", remedy: "Correct that, or serve by TCP_REPAIR")
  }
}

extension ServePlaneError: CustomStringConvertible {
  public var description: String { "\(problem). \(remedy)" }
}
