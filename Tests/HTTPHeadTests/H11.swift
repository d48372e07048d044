// SPDX-License-Identifier: Apache-2.0

import Foundation

/// h11, an HTTP/1.1 parser in Python (Debian package python3-h11), as an independent opinion on heads.
enum H11 {
  /// What h11 says about one input.
  enum Verdict: Equatable {
    case incomplete
    case rejected(String)
    case accepted(Facts)
  }

  /// What follows from the request that h11 parsed, worked out in Python.
  struct Facts: Equatable {
    var method: String
    var target: String
    var routing: String
    var minor: String
    var headLength: Int
    /// `chunked`, or the decimal length of the body; `0` also without a body.
    var body: String
    var close: Bool
    var upgrade: Bool
    var expectsContinue: Bool
    var hosts: [String]
  }

  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  /// One line of hexadecimal in, one tab-separated line out.
  static let script = """
    import sys
    try:
        import h11
        from h11._connection import _body_framing
        from h11._headers import get_comma_header, has_expect_100_continue
    except ImportError as error:
        sys.exit("h11 is missing (%s): apt-get install python3-h11" % error)
    from urllib.parse import urlsplit

    def routing(method, target):
        if target[:1] in ("/", "*") or method == "CONNECT" or "://" not in target:
            return target
        rest = target.split("://", 1)[1]
        cut = min([i for i in (rest.find("/"), rest.find("?")) if i >= 0], default=None)
        return "/" if cut is None else rest[cut:]

    for line in sys.stdin:
        data = bytes.fromhex(line.strip())
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        try:
            connection.receive_data(data)
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            print("rejected", repr(str(error)), sep="\\t")
            continue
        if event is h11.NEED_DATA:
            print("incomplete")
            continue
        kind, arguments = _body_framing(event.method, event)
        connection_options = get_comma_header(event.headers, b"connection")
        upgrades = get_comma_header(event.headers, b"upgrade")
        method, target = event.method.decode(), event.target.decode()
        print("accepted", method, target, routing(method, target), event.http_version.decode(),
              len(data) - len(connection.trailing_data[0]),
              "chunked" if kind == "chunked" else arguments[0],
              b"close" in connection_options, b"upgrade" in connection_options and bool(upgrades),
              has_expect_100_continue(event),
              "".join("=" + v.hex() for n, v in event.headers if n == b"host"), sep="\\t")
    """

  /// Asks h11 about all `inputs` in one run.
  static func judge(_ inputs: [[UInt8]]) throws -> [Verdict] {
    let corpus = FileManager.default.temporaryDirectory.appendingPathComponent("h11-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: corpus) }
    try Data(inputs.map { hex($0) + "\n" }.joined().utf8).write(to: corpus)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
    process.arguments = ["-c", script]
    process.standardInput = try FileHandle(forReadingFrom: corpus)
    let output = Pipe()
    let errors = Pipe()
    process.standardOutput = output
    process.standardError = errors
    do {
      try process.run()
    } catch {
      throw Failure(description: "cannot run /usr/bin/python3 (\(error)): apt-get install python3 python3-h11")
    }
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    let complaint = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw Failure(description: complaint) }
    return try text.split(separator: "\n", omittingEmptySubsequences: true).map(verdict)
  }

  static func hex(_ bytes: [UInt8]) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
  }

  private static func verdict(_ line: Substring) throws -> Verdict {
    let parts = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    switch (parts[0], parts.count) {
    case ("incomplete", 1): return .incomplete
    case ("rejected", 2): return .rejected(parts[1])
    case ("accepted", 11):
      return .accepted(
        Facts(
          method: parts[1], target: parts[2], routing: parts[3], minor: parts[4], headLength: Int(parts[5]) ?? -1,
          body: parts[6], close: parts[7] == "True", upgrade: parts[8] == "True", expectsContinue: parts[9] == "True",
          hosts: parts[10].split(separator: "=", omittingEmptySubsequences: false).dropFirst().map(String.init)))
    default: throw Failure(description: "h11 script wrote a line that is not understood: \(line)")
    }
  }
}
