// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// What wrk asks for in the measurements of the front's packet path.
struct LoadWorkload: Sendable {
  /// Bytes of each answer's body.
  var size: Int
  var pages: Int
  var isKeptAlive: Bool
  /// Open at a time.
  var connections: Int

  /// A connection for each request, answers of 128 bytes.
  static let small = LoadWorkload(size: 128, pages: 64, isKeptAlive: false, connections: 32)

  var folder: String { "/bench-\(size)" }

  func writePages(of cluster: Cluster) throws(LabError) {
    let folder = cluster.documentRoot + folder
    try Folder.create(folder)
    let body = Array(repeating: UInt8(0x61), count: size)
    for page in 1...pages {
      do {
        try FileAccess.write(body, to: "\(folder)/\(page).bin")
      } catch {
        throw LabError("cannot write \(folder): \(error)")
      }
    }
  }
}
