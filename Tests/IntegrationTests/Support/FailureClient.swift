// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Wire

/// A client that watches what a failure does to its connection: it tells an answer that is complete from one that was
/// cut, and an end of the stream from a reset.
final class FailureClient {
  enum End: Hashable {
    /// The connection is open.
    case open
    /// FIN.
    case closed
    /// Reset or another error of the connection.
    case failed(errno: Int32)
  }

  private let socket: StreamSocket
  private var head: [UInt8] = []
  private(set) var end = End.open
  /// Of the answer that is being read.
  private(set) var status: Int?
  private(set) var bodyLength: Int?
  private(set) var bodyRead = 0

  /// Begins to connect.
  ///
  /// - Parameter receiveBuffer: a small one lets the sender feel at once that nobody reads.
  init(_ cluster: Cluster, source index: Int = 0, receiveBuffer: Int32? = nil) throws {
    let endpoint = cluster.endpoints[0]
    let source = cluster.clientAddresses[index % cluster.clientAddresses.count].ipv4
    socket = try cluster.client.perform {
      let socket = try StreamSocket(familyOf: endpoint.address)
      if let receiveBuffer { try socket.set(SOL_SOCKET, SO_RCVBUF, receiveBuffer) }
      try socket.bind(to: Endpoint(source, 0))
      try socket.connect(to: endpoint)
      return socket
    }
  }

  /// What came of the handshake so far: nil while it is under way.
  func connected(within seconds: Double) -> Result<Void, SystemError>? {
    guard wait(Int16(POLLOUT), seconds) else { return nil }
    if let error = socket.pendingError() { return .failure(error) }
    return .success(())
  }

  func finishConnecting(within seconds: Double = 10) throws {
    guard let result = connected(within: seconds) else { throw LabError("no connection within \(seconds) s") }
    try result.get()
  }

  /// Sends a request for a path and forgets the answer before.
  ///
  /// - Parameter padding: bytes of a field that nobody looks at.
  func request(_ path: String, close: Bool = false, padding: Int = 0) throws {
    (head, status, bodyLength, bodyRead) = ([], nil, nil, 0)
    let field = padding > 0 ? "X-Padding: \(String(repeating: "x", count: padding))\r\n" : ""
    let text = "GET \(path) HTTP/1.1\r\nHost: lab\r\n\(field)\(close ? "Connection: close\r\n" : "")\r\n"
    let bytes = Array(text.utf8)
    let written = try socket.write(bytes.span)
    guard written == bytes.count else { throw LabError("a request did not fit into the send buffer") }
  }

  var isComplete: Bool { bodyLength == bodyRead }

  /// Reads until the answer is complete, `bytes` of its body are there, the connection ends, or time is up.
  func read(bytes: Int = .max, within seconds: Double) {
    let deadline = MonotonicTime.now() &+ UInt64(seconds * 1e9)
    // Not kept: tests hold thousands of clients.
    var buffer = [UInt8](repeating: 0, count: min(65_536, max(4096, (bodyLength ?? 0) - bodyRead)))
    while end == .open, !isComplete, bodyRead < bytes {
      do {
        switch try socket.read(into: &buffer) {
        case .bytes(let count): take(buffer[..<count])
        case .endOfStream: end = .closed
        case .wouldBlock:
          let now = MonotonicTime.now()
          if now >= deadline || !wait(Int16(POLLIN), Double(deadline - now) / 1e9) { return }
        }
      } catch {
        end = .failed(errno: error.errno)
      }
    }
  }

  /// Request and whole answer; throws unless it is a complete one of status 200.
  func get(_ path: String, within seconds: Double = 15) throws {
    try request(path)
    read(within: seconds)
    guard isComplete, status == 200 else { throw LabError("\(path): \(outcome)") }
  }

  var outcome: String {
    "status \(status ?? 0), \(bodyRead) of \(bodyLength.map(String.init) ?? "?") bytes, connection \(end)"
  }

  private func take(_ bytes: ArraySlice<UInt8>) {
    if bodyLength != nil {
      bodyRead += bytes.count
      return
    }
    head += bytes
    let text = String(decoding: head, as: UTF8.self)
    guard let headEnd = text.firstRange(of: "\r\n\r\n") else { return }
    let lines = text[..<headEnd.lowerBound].lowercased().split(separator: "\r\n")
    status = lines.first.flatMap { line in
      let words = line.split(separator: " ")
      return words.count > 1 ? Int(words[1]) : nil
    }
    for line in lines where line.hasPrefix("content-length:") {
      bodyLength = Int(line.dropFirst(15).filter { $0 != " " })
    }
    // Bytes of the head are ASCII; those of the body may not be valid UTF-8.
    bodyRead = head.count - text[..<headEnd.upperBound].utf8.count
  }

  private func wait(_ events: Int16, _ seconds: Double) -> Bool {
    var entry = pollfd(fd: socket.raw, events: events, revents: 0)
    return unsafe poll(&entry, 1, Int32(max(0, seconds) * 1000)) > 0
  }
}

extension Cluster {
  /// One request on a connection of its own; returns the seconds that it took.
  @discardableResult
  func get(_ path: String, within seconds: Double = 15) throws -> Double {
    let start = MonotonicTime.now()
    let client = try FailureClient(self)
    try client.finishConnecting(within: seconds)
    try client.get(path, within: seconds)
    return Double(MonotonicTime.now() - start) / 1e9
  }

  /// A download that has begun and is not read any further.
  func pausedDownload(_ path: String) throws -> FailureClient {
    let client = try FailureClient(self, receiveBuffer: 65_536)
    try client.finishConnecting()
    try client.request(path)
    client.read(bytes: 100_000, within: 10)
    guard client.bodyRead >= 100_000 else { throw LabError("\(path) did not begin: \(client.outcome)") }
    return client
  }
}
