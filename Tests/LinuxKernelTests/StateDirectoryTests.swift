// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import Synchronization
import Testing

@testable import LinuxKernel

/// What roles keep below /run, and that it goes with them.
@Suite struct StateDirectoryTests {
  /// A network namespace and a state directory of its own.
  private struct Bench {
    let namespace: NetworkNamespace
    let directory: String

    private static let serial = Atomic<Int>(0)

    init() throws {
      let name = "hlk-\(getpid())-\(Bench.serial.add(1, ordering: .relaxed).newValue)"
      namespace = try NetworkNamespace.create(name)
      directory = "/tmp/\(name)"
    }

    func end() {
      try? namespace.remove()
      _ = try? Command.run(["rm", "-rf", directory])
    }

    var names: [String] { StateFile.names(in: directory) }
    func setting(_ key: String) throws -> String { try namespace.perform { try Sysctl.read(key) } }
  }

  private static let key = "net/ipv4/conf/all/arp_ignore"

  @Test func aCleanStopLeavesNothing() throws {
    let bench = try Bench()
    defer { bench.end() }
    let directory = bench.directory
    let before = try bench.setting(Self.key)
    try bench.namespace.perform {
      let settings = try SysctlOverrides(holder: "one", stateDirectory: directory)
      let record = try NodeRecord("number", stateDirectory: directory)
      try settings.set(Self.key, to: "2")
      try record.set(7)
      #expect(record.number == 7)
      #expect(StateFile.names(in: directory).count == 1)
      let other = try SysctlOverrides(holder: "two", stateDirectory: directory)
      try other.set(Self.key, to: "2")
      settings.release()
      #expect(try Sysctl.read(Self.key) == "2")
      // Whichever goes last takes the directory along.
      other.release()
      #expect(StateFile.names(in: directory).count == 1 && record.number == 7)
      record.remove()
    }
    #expect(bench.names == [])
    #expect(try bench.setting(Self.key) == before)
    try bench.namespace.perform {
      let record = try NodeRecord("number", stateDirectory: directory)
      try record.set(7)
      let settings = try SysctlOverrides(holder: "one", stateDirectory: directory)
      try settings.set(Self.key, to: "1")
      record.remove()
      settings.release()
    }
    #expect(bench.names == [])
  }

  /// Others come while one goes: nobody fails, no value is lost, and nothing is left.
  @Test func comingAndGoing() throws {
    let bench = try Bench()
    defer { bench.end() }
    let directory = bench.directory
    let before = try bench.setting(Self.key)
    let failures = Mutex<[String]>([])
    let threads = (0..<4).map { number in
      WorkerThread(name: "state") {
        do {
          try NetworkNamespaceEntry.enter(bench.namespace.path)
          for _ in 0..<100 {
            let settings = try SysctlOverrides(holder: "role\(number)", stateDirectory: directory)
            let record = try NodeRecord("number\(number)", stateDirectory: directory)
            try settings.set(Self.key, to: "2")
            try record.set(UInt64(number))
            if try Sysctl.read(Self.key) != "2" || record.number != UInt64(number) {
              failures.withLock { $0.append("role \(number) lost what it had set") }
            }
            settings.release()
            record.remove()
          }
        } catch {
          failures.withLock { $0.append("\(error)") }
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(failures.withLock { $0 } == [])
    #expect(bench.names == [])
    #expect(try bench.setting(Self.key) == before)
  }
}
