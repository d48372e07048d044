// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Wire

/// A small HTTP server on a thread of its own that answers as it is told.
final class TestServer: Sendable {
  enum Behaviour: Sendable {
    case right
    case wrongByte
    case wrongLength
    case status
    /// Ends the connection in the middle of the body.
    case cut
    case noise
    case silent
    /// Right, but stands still once, after 200 requests.
    case pause(milliseconds: UInt64)
  }

  let endpoint: Endpoint
  private let stopping: WakeUp
  private let thread: WorkerThread

  init(_ behaviour: Behaviour) throws {
    let listener = try StreamSocket.listen(at: Endpoint(IPAddress(ipv4: 0x7f00_0001), 0))
    endpoint = try listener.localEndpoint()
    stopping = try WakeUp()
    let box = Box(listener)
    let stopping = self.stopping
    thread = WorkerThread(name: "server") {
      guard var loop = try? Loop(box.listener, stopping, behaviour) else { return }
      loop.run(box.listener)
    }
  }

  func stop() {
    stopping.signal()
    thread.join()
  }

  private final class Box: Sendable {
    let listener: StreamSocket
    init(_ listener: consuming StreamSocket) { self.listener = listener }
  }
}

private struct Loop: ~Copyable {
  private let behaviour: TestServer.Behaviour
  private let stopToken: UInt64 = 1 << 40
  private var epoll: Epoll
  private var inputs: [Int32: [UInt8]] = [:]
  private var outputs: [Int32: [UInt8]] = [:]
  private var buffer = [UInt8](repeating: 0, count: 65_536)
  private var served = 0

  init(_ listener: borrowing StreamSocket, _ stopping: WakeUp, _ behaviour: TestServer.Behaviour) throws(SystemError) {
    let epoll = try Epoll()
    try epoll.add(stopping.raw, .read, token: 1 << 40)
    try epoll.add(listener.raw, .read, token: UInt64(UInt32(bitPattern: listener.raw)))
    self.epoll = epoll
    self.behaviour = behaviour
  }

  mutating func run(_ listener: borrowing StreamSocket) {
    while true {
      let count = epoll.wait(until: nil)
      for index in 0..<count {
        let token = epoll.ready(index).token
        if token == stopToken {
          for raw in inputs.keys { StreamSocket.close(raw) }
          return
        }
        let raw = Int32(truncatingIfNeeded: token)
        if raw == listener.raw { accept(listener) } else { serve(raw) }
      }
    }
  }

  private mutating func accept(_ listener: borrowing StreamSocket) {
    while let accepted = try? listener.accept() {
      let raw = accepted.take().intoRaw()
      inputs[raw] = []
      outputs[raw] = []
      try? epoll.add(raw, [.read, .write, .edgeTriggered], token: UInt64(UInt32(bitPattern: raw)))
    }
  }

  private mutating func serve(_ raw: Int32) {
    do {
      while inputs[raw] != nil {
        switch try StreamSocket.read(raw, into: &buffer) {
        case .endOfStream: return close(raw)
        case .bytes(let count):
          inputs[raw]?.append(contentsOf: buffer[..<count])
          answer(raw)
        case .wouldBlock:
          try write(raw)
          return
        }
      }
    } catch {
      close(raw)
    }
  }

  private mutating func answer(_ raw: Int32) {
    while let input = inputs[raw], let end = input.firstRange(of: [13, 10, 13, 10]) {
      inputs[raw]?.removeSubrange(..<end.upperBound)
      let path = String(decoding: input[4..<6], as: UTF8.self)
      let size = path == "/a" ? 100 : 100_000
      var body = Content(seed: 7, name: path).bytes(from: 0, count: size)
      served += 1
      var head = "HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n"
      switch behaviour {
      case .right: break
      case .wrongByte: body[size / 2] ^= 1
      case .wrongLength:
        body.removeLast()
        head = "HTTP/1.1 200 OK\r\nContent-Length: \(size - 1)\r\n\r\n"
      case .status: head = "HTTP/1.1 503 Busy\r\nContent-Length: \(size)\r\n\r\n"
      case .cut: body.removeLast(size / 2)
      case .noise: head = "this is no HTTP at all\r\n\r\n"
      case .silent: continue
      case .pause(let milliseconds):
        if served == 200 {
          let end = MonotonicTime.now() + milliseconds * 1_000_000
          while MonotonicTime.now() < end {}
        }
      }
      outputs[raw]?.append(contentsOf: Array(head.utf8) + body)
      if case .cut = behaviour {
        try? write(raw)
        return close(raw)
      }
    }
  }

  private mutating func write(_ raw: Int32) throws(SystemError) {
    guard let output = outputs[raw], !output.isEmpty else { return }
    let count = try StreamSocket.write(raw, output.span)
    outputs[raw]?.removeSubrange(..<count)
  }

  private mutating func close(_ raw: Int32) {
    if inputs.removeValue(forKey: raw) == nil { return }
    outputs[raw] = nil
    StreamSocket.close(raw)
  }
}
