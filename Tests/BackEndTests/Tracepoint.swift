// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import LinuxKernel
import Testing

/// The programs at tracepoints that agents of this process have attached.
enum Tracepoint {
  static func links() throws -> [Int32] {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap(Int32.init).filter { descriptor in
      let file = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(descriptor)")
      return file == "anon_inode:bpf_link" || file == "anon_inode:bpf-raw-tracepoint"
    }
  }

  /// Takes the program of the agent that was started since: it hears of nothing from now on.
  static func end(except earlier: Set<Int32>) throws {
    let links = try links().filter { !earlier.contains($0) }
    #expect(links.count == 1)
    let nothing = OwnedDescriptor(owning: unsafe open("/dev/null", O_RDONLY | O_CLOEXEC))
    // The agent's descriptor is another file from now on.
    for link in links { #expect(dup2(nothing.raw, link) == link) }
  }
}
