// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A number that a role keeps for its successor in the same network namespace, should it die. Lost with the boot.
public struct NodeRecord: Sendable {
  private let directory: String
  private let path: String

  /// - Parameters:
  ///   - name: of the number, unique in the network namespace.
  ///   - stateDirectory: must not survive a reboot usefully (`/run`).
  public init(_ name: String, stateDirectory: String) throws(SystemError) {
    directory = "\(stateDirectory)/\(try NamespaceIdentity.current())"
    try StateFile.makeDirectories(directory)
    path = "\(directory)/\(name)"
  }

  /// What a predecessor that died has left, nil when there is nothing.
  public var number: UInt64? { (try? SystemFile.text(of: path)).flatMap { UInt64($0) } }

  public func set(_ number: UInt64) throws(SystemError) { try StateFile.replace(path, with: "\(number)") }

  /// Also removes the network namespace's directory, unless something else is in it.
  public func remove() {
    StateFile.remove(path)
    StateFile.removeDirectory(directory)
  }
}
