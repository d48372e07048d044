// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LinuxKernel

/// Where this package's own programs are.
public enum LabTools {
  /// The path of a built program: `HANDOFF_BIN/NAME` when that variable is set, else beside the running executable.
  public static func path(of name: String) throws(LabError) -> String {
    let folder = ProcessEnvironment.values["HANDOFF_BIN"] ?? executableFolder()
    let path = "\(folder)/\(name)"
    guard Folder.exists(path) else {
      throw LabError("there is no \(path): build it (`swift build`) or set HANDOFF_BIN to the folder that has it")
    }
    return path
  }

  /// The path of the running program, for one that starts itself with another command.
  public static func ownExecutable() throws(LabError) -> String {
    let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    guard !path.isEmpty else { throw LabError("/proc/self/exe cannot be read") }
    return path
  }

  private static func executableFolder() -> String {
    let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
  }
}
