// SPDX-License-Identifier: Apache-2.0

import Lab
public import LinuxKernel
import Wire

/// An HTTP server over a store like one disk: requests are served one after the other, each after a time for the seek and
/// one for the transfer. It costs time, not processor time.
public struct Origin: ~Copyable {
  private struct Client {
    var socket: Int32
    var input: [UInt8] = []
    var output: [UInt8] = []
    var sent = 0
  }

  /// A request that the store works on or will.
  private struct Job {
    var client: Int32
    var done: UInt64
    var answer: [UInt8]
  }

  private let root: String
  private let seek: UInt64
  private let nanosecondsPerByte: Double
  private let listener: StreamSocket
  private var epoll: Epoll
  private var clients: [Int32: Client] = [:]
  private var jobs: [Job] = []
  private var firstJob = 0
  private var busyUntil: UInt64 = 0
  private var buffer = [UInt8](repeating: 0, count: 8192)

  /// - Parameters:
  ///   - port: on the loopback address.
  ///   - seekMilliseconds: of each request before its transfer.
  public init(port: UInt16, root: String, seekMilliseconds: Double, megabytesPerSecond: Double) throws(SystemError) {
    let listener = try StreamSocket.listen(at: Endpoint(IPAddress(ipv4: 0x7f00_0001), port))
    let epoll = try Epoll()
    try epoll.add(listener.raw, .read, token: UInt64(UInt32(bitPattern: listener.raw)))
    self.root = root
    seek = UInt64(seekMilliseconds * 1e6)
    nanosecondsPerByte = 1e3 / megabytesPerSecond
    self.listener = listener
    self.epoll = epoll
  }

  /// Serves until the process is ended.
  public mutating func run() throws(SystemError) {
    while true {
      let next = firstJob < jobs.count ? jobs[firstJob].done : MonotonicTime.now() &+ 1_000_000_000
      let count = epoll.wait(untilExactly: next)
      for index in 0..<count {
        let raw = Int32(truncatingIfNeeded: epoll.ready(index).token)
        if raw == listener.raw { try acceptAll() } else { serve(raw) }
      }
      let now = MonotonicTime.now()
      while firstJob < jobs.count, jobs[firstJob].done <= now {
        let job = jobs[firstJob]
        jobs[firstJob].answer = []
        firstJob += 1
        if firstJob == jobs.count {
          jobs.removeAll(keepingCapacity: true)
          firstJob = 0
        }
        clients[job.client]?.output += job.answer
        write(job.client)
      }
    }
  }

  private mutating func acceptAll() throws(SystemError) {
    while let accepted = try listener.accept() {
      let raw = accepted.take().intoRaw()
      clients[raw] = Client(socket: raw)
      try epoll.add(raw, [.read, .write, .edgeTriggered], token: UInt64(UInt32(bitPattern: raw)))
    }
  }

  private mutating func serve(_ raw: Int32) {
    write(raw)
    do {
      while clients[raw] != nil {
        switch try StreamSocket.read(raw, into: &buffer) {
        case .wouldBlock: return
        case .endOfStream:
          close(raw)
          return
        case .bytes(let count):
          clients[raw]?.input += buffer[..<count]
          takeRequests(raw)
        }
      }
    } catch {
      close(raw)
    }
  }

  private mutating func takeRequests(_ raw: Int32) {
    while let input = clients[raw]?.input, let end = input.firstRange(of: [13, 10, 13, 10]) {
      clients[raw]?.input.removeSubrange(..<end.upperBound)
      let words = input[..<end.lowerBound].split(separator: 32, maxSplits: 2)
      let path = words.count > 2 ? String(decoding: words[1], as: UTF8.self) : ""
      let body = path.hasPrefix("/") && !path.contains("..") ? try? FileAccess.read(root + path) : nil
      let status = body == nil ? "404 Not Found" : "200 OK"
      let length = body?.count ?? 0
      let now = MonotonicTime.now()
      busyUntil = max(busyUntil, now) &+ seek &+ UInt64(Double(length) * nanosecondsPerByte)
      // The probe that asks whether a node is ready has not to wait for the store.
      let done = path == "/ready.txt" ? now : busyUntil
      jobs.append(
        Job(
          client: raw, done: done,
          answer: Array("HTTP/1.1 \(status)\r\nContent-Length: \(length)\r\n\r\n".utf8) + (body ?? [])))
    }
  }

  private mutating func write(_ raw: Int32) {
    guard let client = clients[raw], client.sent < client.output.count else { return }
    do {
      let count = try StreamSocket.write(raw, client.output.span.extracting(client.sent..<client.output.count))
      clients[raw]?.sent += count
      if client.sent + count == client.output.count {
        clients[raw]?.output = []
        clients[raw]?.sent = 0
      }
    } catch {
      close(raw)
    }
  }

  private mutating func close(_ raw: Int32) {
    if clients.removeValue(forKey: raw) != nil { StreamSocket.close(raw) }
  }
}
