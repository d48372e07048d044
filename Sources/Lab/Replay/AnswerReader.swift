// SPDX-License-Identifier: Apache-2.0

/// Reads one HTTP/1.1 answer that has a Content-Length, and checks each byte of its body on the way.
struct AnswerReader {
  enum Failure: Error, Equatable {
    case status(Int)
    case head(String)
    case length(Int)
    case content(offset: Int)
  }

  enum Progress: Equatable {
    case needsMore
    /// Complete; whether the server ends the connection now.
    case complete(closes: Bool)
  }

  private let content: Content
  private let size: Int
  private var head: [UInt8] = []
  private var body: Int?
  private var closes = false

  init(content: Content, size: Int) {
    self.content = content
    self.size = size
  }

  /// Body bytes received so far.
  var received: Int { body ?? 0 }

  /// Takes the bytes `range` of `buffer`; bytes after the answer's end are a failure, as no request is pipelined.
  mutating func take(_ buffer: [UInt8], _ count: Int) throws(Failure) -> Progress {
    var start = 0
    if body == nil {
      guard let end = try takeHead(buffer, count) else { return .needsMore }
      start = end
      body = 0
    }
    let already = received
    guard already + count - start <= size else { throw .length(already + count - start) }
    if start < count {
      let span = buffer.span.extracting(start..<count)
      if let offset = content.firstDifference(span, at: already) { throw .content(offset: offset) }
      body = already + count - start
    }
    return received == size ? .complete(closes: closes) : .needsMore
  }

  /// The index in `buffer` where the body begins, nil when the head is not complete.
  private mutating func takeHead(_ buffer: [UInt8], _ count: Int) throws(Failure) -> Int? {
    for index in 0..<count {
      head.append(buffer[index])
      if buffer[index] == 10, head.count >= 4, head.suffix(4).elementsEqual([13, 10, 13, 10]) {
        try parseHead()
        return index + 1
      }
    }
    if head.count > 16_384 { throw .head("longer than 16 KB") }
    return nil
  }

  private mutating func parseHead() throws(Failure) {
    let lines = String(decoding: head, as: UTF8.self).split(separator: "\r\n")
    let words = lines.first?.split(separator: " ") ?? []
    guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
      throw .head("no status line: \(lines.first ?? "")")
    }
    guard status == 200 else { throw .status(status) }
    var length: Int?
    for line in lines.dropFirst() {
      let parts = line.split(separator: ":", maxSplits: 1)
      guard parts.count == 2 else { throw .head("no field: \(line)") }
      let value = parts[1].drop { $0 == " " }
      switch parts[0].lowercased() {
      case "content-length": length = Int(value)
      case "connection": closes = value.lowercased() == "close"
      default: continue
      }
    }
    guard let length else { throw .head("no Content-Length") }
    guard length == size else { throw .length(length) }
  }
}
