// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Testing

/// A lab that is ended from outside, in another process.
@Suite(.serialized)
struct LeftoverTests {
  private func namespaces(of id: String) throws -> [String] {
    try Command.run(["ip", "netns", "list"]).output.split(separator: "\n").map(String.init)
      .filter { $0.hasPrefix("ho-\(id)-") }
  }

  /// Starts `lab up` and returns when it says where its files are: `/tmp/handoff-lab-ID`.
  private func start(_ log: String) throws -> (process: LabProcess, id: String) {
    let command = [try LabTools.path(of: "lab"), "up", "--front", "direct", "--server", "nginx", "--pages", "10"]
    let process = try LabProcess(name: "lab up", command, logFile: log)
    let text = try Eventually.within(30) {
      process.log()
    } until: {
      $0.contains("clients: ")
    }
    let id = try #require(text.firstMatch(of: /handoff-lab-([a-z0-9]+)/)).1
    return (process, String(id))
  }

  private func withLog(_ body: (String) throws -> Void) throws {
    let log = "/tmp/ho-test-\(getpid())-up.log"
    defer { _ = unsafe unlink(log) }
    try body(log)
  }

  @Test func whatAKilledLabLeftIsRemovedByTheNext() throws {
    try withLog { log in
      let (process, id) = try start(log)
      process.kill()
      let left = try namespaces(of: id)
      #expect(left.count == 3, "\(left)")
      let pids = left.flatMap { ProcessTable.pids(inNamespace: String($0.prefix { $0 != " " })) }
      #expect(!pids.isEmpty)
      // Another test that begins a run meanwhile removes it as well: all that counts is that it is gone.
      _ = LabRun.removeLeftovers()
      _ = try Eventually.within(10) {
        try namespaces(of: id).count + pids.count { kill($0, 0) == 0 }
      } until: {
        $0 == 0
      }
      #expect(try !Command.run(["test", "-e", "/tmp/handoff-lab-\(id)"]).isSuccess)
      #expect(try !Command.run(["test", "-e", "/run/handoff-lab/\(id).json"]).isSuccess)
    }
  }

  @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
  func anInterruptedLabRemovesEverythingItself(_ signal: Int32) throws {
    try withLog { log in
      let (process, id) = try start(log)
      process.signal(signal)
      #expect(process.wait(seconds: 20) == .exited(130))
      #expect(try namespaces(of: id) == [])
      #expect(try !Command.run(["test", "-e", "/tmp/handoff-lab-\(id)"]).isSuccess)
      #expect(try !Command.run(["test", "-e", "/run/handoff-lab/\(id).json"]).isSuccess)
    }
  }

  @Test func aLivingOwnersRunIsLeftAlone() throws {
    let run = try LabRun()
    defer { run.end() }
    let namespace = try run.makeNamespace("x")
    _ = LabRun.removeLeftovers()
    #expect(try namespace.run(["true"]).isSuccess)
    #expect(run.end() == [])
    #expect(try namespaces(of: run.id) == [])
  }
}
