// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Wire

/// A fixed number of connections to a web server, each with one request; as soon as one has its answer the next is opened.
struct LoadProbe: ~Copyable {
  private let server: Endpoint
  private let requests: [[UInt8]]
  private var epoll: Epoll
  private var slots: [Int: Slot] = [:]
  private var nextRequest = 0
  private var delays: [UInt64] = []
  private var failures = 0
  private var buffer = [UInt8](repeating: 0, count: 256 << 10)

  /// One connection. A class, as a socket has one owner and a dictionary's values must be copyable.
  private final class Slot {
    let socket: StreamSocket
    let openedAt: UInt64
    let request: Int
    var hasAsked = false
    var received = 0
    /// The answer begins as one of 2xx or 3xx.
    var isGood = false

    init(socket: consuming StreamSocket, openedAt: UInt64, request: Int) {
      self.socket = socket
      self.openedAt = openedAt
      self.request = request
    }
  }

  init(server: Endpoint, host: String, paths: [String]) throws(SystemError) {
    self.server = server
    requests = paths.map { Array("GET \($0) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n".utf8) }
    epoll = try Epoll(capacity: 256)
  }

  /// - Parameter nanoseconds: how long is measured, after a fifth of it that is not.
  mutating func measure(connections: Int, nanoseconds: UInt64) throws(SystemError) -> DelayCurve.Level {
    delays.removeAll(keepingCapacity: true)
    failures = 0
    let start = MonotonicTime.now()
    let measured = start + nanoseconds / 5
    let end = measured + nanoseconds
    var now = start
    while now < end {
      while slots.count < connections { try open(now) }
      let count = epoll.wait(until: end)
      now = MonotonicTime.now()
      for index in 0..<count { serve(epoll.ready(index), now, counts: now >= measured) }
    }
    for slot in slots.values { try? epoll.remove(slot.socket.raw) }
    slots.removeAll()
    delays.sort()
    let sum = delays.reduce(0, +)
    return DelayCurve.Level(
      connections: connections, throughput: Double(delays.count) / (Double(end - measured) / 1e9),
      meanDelay: delays.isEmpty ? 0 : Double(sum) / Double(delays.count) / 1e6,
      delay99: delays.isEmpty ? 0 : Double(delays[delays.count * 99 / 100]) / 1e6, failures: failures)
  }

  private mutating func open(_ now: UInt64) throws(SystemError) {
    let socket = try StreamSocket(familyOf: server.address)
    try socket.connect(to: server)
    let raw = Int(socket.raw)
    try epoll.add(socket.raw, .write, token: UInt64(raw))
    slots[raw] = Slot(socket: socket, openedAt: now, request: nextRequest)
    nextRequest = (nextRequest + 1) % requests.count
  }

  private mutating func serve(_ ready: Epoll.Ready, _ now: UInt64, counts: Bool) {
    let raw = Int(ready.token)
    guard let slot = slots[raw] else { return }
    do throws(SystemError) {
      if !slot.hasAsked {
        if let error = slot.socket.pendingError() { throw error }
        // A request of one line fits into any fresh socket's buffer.
        let request = requests[slot.request]
        _ = try slot.socket.write(request.span)
        slot.hasAsked = true
        try epoll.modify(slot.socket.raw, .read, token: ready.token)
        return
      }
      while true {
        switch try slot.socket.read(into: &buffer) {
        case .bytes(let count):
          // "HTTP/1.1 2": the status is the tenth byte.
          if slot.received == 0, count > 9 { slot.isGood = buffer[9] == 0x32 || buffer[9] == 0x33 }
          slot.received += count
        case .wouldBlock: return
        case .endOfStream:
          finish(raw, slot.isGood ? now - slot.openedAt : nil, counts: counts)
          return
        }
      }
    } catch {
      finish(raw, nil, counts: counts)
    }
  }

  /// - Parameter delay: nil for a request that failed.
  private mutating func finish(_ raw: Int, _ delay: UInt64?, counts: Bool) {
    if let slot = slots.removeValue(forKey: raw) { try? epoll.remove(slot.socket.raw) }
    guard counts else { return }
    if let delay { delays.append(delay) } else { failures += 1 }
  }
}
