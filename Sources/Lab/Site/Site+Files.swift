// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LinuxKernel

extension Site {
  /// Writes every page below `root`, readable by everybody.
  public func write(below root: String) throws(LabError) {
    var folders: Set<String> = []
    for page in pages {
      let path = root + page.path
      let folder = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
      if folders.insert(folder).inserted { try Folder.create(folder) }
      do {
        try FileAccess.write(content(of: page).bytes(from: 0, count: page.size), to: path)
      } catch {
        throw LabError("cannot write the site: \(error)")
      }
    }
  }
}

/// Folders of the lab.
enum Folder {
  static func create(_ path: String) throws(LabError) {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw LabError("cannot make the folder \(path): \(error)")
    }
  }

  static func remove(_ path: String) {
    try? FileManager.default.removeItem(atPath: path)
  }

  static func names(in path: String) -> [String] {
    (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
  }

  static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
}
