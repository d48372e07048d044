// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import LinuxKernel
import Synchronization

/// One use of the lab: its id names all that it makes, and a state file tells later runs what to remove should this
/// process die.
public final class LabRun: Sendable {
  /// Five letters and digits.
  public let id: String
  /// Files of this run: site, configurations, logs. Goes with the run.
  public let folder: String

  /// What the state file holds.
  struct State: Codable {
    var id: String
    var owner: Int32
    /// Clock ticks after boot at which the owner started: tells it from a later process of the same number.
    var ownerStart: UInt64
    var folder: String
  }

  static let stateFolder = "/run/handoff-lab"

  /// Removes what dead owners left, and begins a run.
  public init() throws(LabError) {
    try LabRun.requireRoot()
    _ = LabRun.removeLeftovers()
    var random = SystemRandomNumberGenerator()
    id = String((0..<5).map { _ in "abcdefghijkmnpqrstuvwxyz23456789".randomElement(using: &random) ?? "x" })
    folder = "/tmp/handoff-lab-\(id)"
    // The state goes first: from here on nothing is made that it does not tell.
    try Folder.create(LabRun.stateFolder)
    let pid = getpid()
    let state = State(id: id, owner: pid, ownerStart: ProcessTable.startTime(of: pid) ?? 0, folder: folder)
    do {
      let bytes = Array(try JSONEncoder().encode(state))
      try FileAccess.write(bytes, to: "\(LabRun.stateFolder)/\(id).json")
    } catch {
      throw LabError("cannot write the lab's state file below \(LabRun.stateFolder): \(error)")
    }
    try Folder.create(folder)
  }

  public static func requireRoot() throws(LabError) {
    if geteuid() == 0 { return }
    throw LabError("the lab makes network namespaces and needs root: run it with sudo")
  }

  /// Makes a namespace `ho-ID-NAME`.
  public func makeNamespace(_ name: String) throws(LabError) -> NetworkNamespace {
    try LabRun.unlessEnding { () throws(LabError) in try NetworkNamespace.create("ho-\(id)-\(name)") }
  }

  /// Kills what still runs in the run's namespaces and removes them, the folder and the state file. Returns what could
  /// not be removed, which is nothing when all went well.
  @discardableResult
  public func end() -> [String] {
    let state = State(id: id, owner: 0, ownerStart: 0, folder: folder)
    return LabRun.remove(state)
  }
}

extension LabRun {
  private static let isEnding = Mutex(false)

  /// Makes something that the end of a run has to remove; throws when all runs are being ended.
  static func unlessEnding<Result: Sendable>(_ make: () throws(LabError) -> Result) throws(LabError) -> Result {
    try isEnding.withLock { (isEnding) throws(LabError) in
      if isEnding { throw LabError("the lab is being ended") }
      return try make()
    }
  }

  /// Ends all runs of this process, and keeps other threads from making anything more: for a process that has to end.
  public static func endAll() -> [String] {
    isEnding.withLock { $0 = true }
    let pid = getpid()
    return states().filter { $0.owner == pid }.flatMap { remove($0) }
  }

  private static func states() -> [State] {
    Folder.names(in: stateFolder).filter { $0.hasSuffix(".json") }.compactMap { name in
      guard let bytes = try? FileAccess.read("\(stateFolder)/\(name)") else { return nil }
      return try? JSONDecoder().decode(State.self, from: Data(bytes))
    }
  }

  /// Removes all that runs left whose owner is dead; returns their ids.
  @discardableResult
  public static func removeLeftovers() -> [String] {
    var removed: [String] = []
    for state in states() {
      if let start = ProcessTable.startTime(of: state.owner), start == state.ownerStart { continue }
      _ = remove(state)
      removed.append(state.id)
    }
    return removed
  }

  private static func remove(_ state: State) -> [String] {
    var left: [String] = []
    let prefix = "ho-\(state.id)-"
    let names = Folder.names(in: "/run/netns").filter { $0.hasPrefix(prefix) }
    for name in names { ProcessTable.killAll(inNamespace: name) }
    for name in names {
      do {
        try NetworkNamespace(existing: name).remove()
      } catch {
        left.append("namespace \(name): \(error)")
      }
    }
    // Another thread may be writing the site; it finds its folder gone and gives up.
    for _ in 0..<20 where Folder.exists(state.folder) { Folder.remove(state.folder) }
    if Folder.exists(state.folder) { left.append("folder \(state.folder)") }
    // Last: as long as something is left, the state file tells of it.
    if left.isEmpty { Folder.remove("\(stateFolder)/\(state.id).json") }
    return left
  }
}

/// What /proc tells about other processes.
public enum ProcessTable {
  /// Field 22 of /proc/PID/stat: clock ticks after boot; nil when there is no such process or only its remains.
  static func startTime(of pid: Int32) -> UInt64? {
    guard let fields = fields(of: pid), fields[0] != "Z", fields[0] != "X" else { return nil }
    return UInt64(fields[19])
  }

  /// User and system time in seconds that the process and its ended children have used; nil when it is gone.
  public static func cpuSeconds(of pid: Int32) -> Double? {
    guard let fields = fields(of: pid) else { return nil }
    let ticks = (11...14).reduce(0.0) { $0 + (Double(fields[$1]) ?? 0) }
    return ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  /// Fields of /proc/PID/stat from the third (state) on: the second, the name, may hold blanks and brackets.
  private static func fields(of pid: Int32) -> [Substring]? {
    guard let bytes = try? FileAccess.read("/proc/\(pid)/stat") else { return nil }
    let text = String(decoding: bytes, as: UTF8.self)
    guard let bracket = text.lastIndex(of: ")") else { return nil }
    let fields = text[text.index(after: bracket)...].split(separator: " ")
    return fields.count > 19 ? fields : nil
  }

  /// Processes whose network namespace is this one.
  public static func pids(inNamespace name: String) -> [Int32] {
    let result = try? Command.run(["ip", "netns", "pids", name])
    return (result?.output ?? "").split(separator: "\n").compactMap { Int32($0) }
  }

  /// SIGKILL for all processes of a namespace, and waits (2 s at most) until they are gone.
  static func killAll(inNamespace name: String) {
    let deadline = MonotonicTime.now() &+ 2_000_000_000
    while true {
      let pids = pids(inNamespace: name).filter { $0 != getpid() && startTime(of: $0) != nil }
      if pids.isEmpty || MonotonicTime.now() > deadline { return }
      for pid in pids { kill(pid, SIGKILL) }
    }
  }
}
