// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxKernel

/// tcpdump on one interface.
public final class Capture: Sendable {
  public let file: String
  private let process: LabProcess

  /// Starts tcpdump and returns when it listens.
  ///
  /// - Parameters:
  ///   - filter: in tcpdump's words, such as `tcp port 80`.
  ///   - bytes: kept of each frame; headers with all options need 134.
  public init(
    in namespace: NetworkNamespace, interface: String = "eth0", filter: String = "tcp", bytes: Int = 160,
    file: String
  ) throws(LabError) {
    self.file = file
    process = try namespace.start(
      name: "tcpdump",
      ["tcpdump", "-i", interface, "-w", file, "-s", "\(bytes)", "-B", "16384", "-U", "--immediate-mode", filter],
      logFile: "\(file).log")
    let process = self.process
    do {
      _ = try Eventually.within(10) {
        if let status = process.status { throw LabError("tcpdump ended with \(status): \(process.log())") }
        return process.log()
      } until: {
        $0.contains("listening on")
      }
    } catch {
      throw LabError("tcpdump does not listen in \(namespace.name): \(error)")
    }
  }

  /// Ends the capture and reads it. Throws when the kernel dropped packets: conclusions would be worth nothing.
  public func stop() throws(LabError) -> [CapturedSegment] {
    process.signal(SIGINT)
    guard process.wait(seconds: 10)?.isSuccess == true else {
      process.kill()
      throw LabError("tcpdump did not end well: \(process.log())")
    }
    guard process.log().contains("\n0 packets dropped by kernel") else {
      throw LabError("the capture is not complete: \(process.log())")
    }
    return try PacketFile.read(file)
  }
}
