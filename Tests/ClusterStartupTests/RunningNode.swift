// SPDX-License-Identifier: Apache-2.0

import Foundation
import LinuxKernel
import Telemetry
import Testing
import Wire

/// A `cluster_startup` that runs as a process of its own on loopback addresses, with this test as its service manager.
final class RunningNode: Sendable {
  let control: Endpoint
  let admin: Endpoint
  private let process: ChildProcess
  private let listener: NotificationListener
  private let log: LogFile

  /// Programs are built beside the tests.
  static func program(_ name: String) -> String {
    URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appending(path: name).path
  }

  private static let loopback = IPAddress(ipv4: 0x7f00_0001)

  /// - Parameter arguments: after which those for the loopback addresses follow.
  init(_ arguments: [String]) throws {
    control = try RunningNode.freePort()
    admin = try RunningNode.freePort()
    listener = try NotificationListener(name: "handoff-test-\(UInt64.random(in: 0 ... .max))")
    log = LogFile()
    let input = try MemoryFile()
    let output = try log.open()
    let all =
      arguments + [
        "--internal-address", "127.0.0.1", "--control-port", "\(control.port)", "--admin", "\(admin)",
      ]
    process = try ChildProcess(
      [RunningNode.program("cluster_startup")] + all,
      environment: ["NOTIFY_SOCKET=\(listener.path)", "PATH=/usr/sbin:/usr/bin"],
      directory: nil, streams: .init(input: input.raw, output: output.raw, error: output.raw))
  }

  deinit { process.signal(9) }

  /// One that was free a moment ago.
  private static func freePort() throws -> Endpoint {
    try StreamSocket.listen(at: Endpoint(loopback, 0)).localEndpoint()
  }

  static func deadline() -> UInt64 { MonotonicTime.now() + 20_000_000_000 }

  /// Waits for a notification that has `part`, and returns all that came up to it.
  func notification(with part: String) async throws -> [String] {
    let messages = try await offPool { try self.waitForNotification(with: part) }
    if messages.last?.contains(part) != true {
      Issue.record("no '\(part)' in \(messages); standard error: \(try output())")
    }
    return messages
  }

  private func waitForNotification(with part: String) throws -> [String] {
    var epoll = try Epoll(capacity: 1)
    try epoll.add(listener.raw, .read, token: 0)
    let deadline = RunningNode.deadline()
    var messages: [String] = []
    while MonotonicTime.now() < deadline {
      while let message = listener.next() {
        messages.append(message)
        if message.contains(part) { return messages }
      }
      _ = epoll.wait(until: deadline)
    }
    return messages
  }

  func signal(_ signal: SignalQueue.Signal) { process.signal(signal.rawValue) }

  func end() async throws -> ChildProcess.ExitStatus? {
    try await offPool { self.process.wait(until: RunningNode.deadline()) }
  }

  func get(_ path: String) async throws -> AdminClient.Answer {
    try await offPool { try AdminClient.get(path, from: self.admin, deadline: RunningNode.deadline()) }
  }

  /// What it wrote so far.
  func output() throws -> String { try log.text() }

  /// Runs the program to its end.
  static func run(_ arguments: [String], program name: String = "cluster_startup") async throws -> (
    status: ChildProcess.ExitStatus?, output: String
  ) {
    let log = LogFile()
    let input = try MemoryFile()
    let output = try log.open()
    let process = try ChildProcess(
      [program(name)] + arguments, environment: ["PATH=/usr/sbin:/usr/bin"], directory: nil,
      streams: .init(input: input.raw, output: output.raw, error: output.raw))
    let status = try await offPool { process.wait(until: deadline()) }
    return (status, try log.text())
  }
}

/// Runs what blocks on a thread of its own: the pool's few threads are for the tests beside this one.
private func offPool<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
  try await withCheckedThrowingContinuation { continuation in
    _ = WorkerThread(name: "test") { continuation.resume(with: Result { try body() }) }
  }
}

/// A file that a process appends to, with a position of its own for the reader; removed at the end.
private final class LogFile: Sendable {
  private let path = FileManager.default.temporaryDirectory.appending(path: "handoff-\(UUID().uuidString).log").path

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func open() throws(SystemError) -> OwnedDescriptor { try FileAccess.openForAppending(path) }

  func text() throws(SystemError) -> String { String(decoding: try FileAccess.read(path), as: UTF8.self) }
}
