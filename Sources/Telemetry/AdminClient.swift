// SPDX-License-Identifier: Apache-2.0

public import LinuxKernel
public import Wire

/// One GET of a process's admin server, for tools; blocks the calling thread.
public enum AdminClient {
  public struct Answer: Sendable, Hashable {
    public var status: Int
    public var body: String
  }

  public enum Failure: Error, Sendable, Hashable {
    case system(SystemError)
    case timeout
    /// The answer is no HTTP, or larger than 64 MiB.
    case malformed
  }

  /// - Parameter deadline: nanoseconds of `MonotonicTime`.
  public static func get(_ path: String, from endpoint: Endpoint, deadline: UInt64) throws(Failure) -> Answer {
    let bytes: [UInt8]?
    do throws(SystemError) {
      bytes = try exchange(path, endpoint, deadline)
    } catch {
      throw .system(error)
    }
    guard let bytes else { throw .timeout }
    return try parse(bytes)
  }

  /// Everything that the server sends until it closes; nil when the deadline passed.
  private static func exchange(
    _ path: String, _ endpoint: Endpoint, _ deadline: UInt64
  ) throws(SystemError) -> [UInt8]? {
    let socket = try StreamSocket(familyOf: endpoint.address)
    var epoll = try Epoll(capacity: 1)
    try socket.connect(to: endpoint)
    try epoll.add(socket.raw, .write, token: 0)
    if epoll.wait(until: deadline) == 0 { return nil }
    if let error = socket.pendingError() { throw error.on("\(endpoint)") }
    // The request fits into any fresh socket's buffer.
    let request = Array("GET \(path) HTTP/1.1\r\nHost: \(endpoint)\r\nConnection: close\r\n\r\n".utf8)
    _ = try socket.write(request.span)
    try epoll.modify(socket.raw, .read, token: 0)
    var answer: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while answer.count <= 64 << 20 {
      switch try socket.read(into: &chunk) {
      case .bytes(let count): answer += chunk[..<count]
      case .endOfStream: return answer
      case .wouldBlock: if epoll.wait(until: deadline) == 0 { return nil }
      }
    }
    return []
  }

  private static func parse(_ bytes: [UInt8]) throws(Failure) -> Answer {
    let text = String(decoding: bytes, as: UTF8.self)
    let line = text.prefix { $0 != "\r\n" && $0 != "\n" }.split(separator: " ", maxSplits: 2)
    guard line.count >= 2, line[0].hasPrefix("HTTP/1."), let status = Int(line[1]),
      let end = text.firstRange(of: "\r\n\r\n")
    else { throw .malformed }
    return Answer(status: status, body: String(text[end.upperBound...]))
  }
}
