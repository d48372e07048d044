// SPDX-License-Identifier: Apache-2.0

import Logging
import Synchronization
import Testing

@testable import Telemetry

@Suite struct StandardErrorLogTests {
  @Test(arguments: [
    (Int64(0), "1970-01-01T00:00:00.000000Z"),
    (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
    (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
    (1_769_846_703_012_345, "2026-01-31T08:05:03.012345Z"),
    (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
  ])
  func timestamps(microseconds: Int64, text: String) {
    #expect(Timestamp.rfc3339(microseconds: microseconds) == text)
  }

  @Test func textLine() {
    let line = LogFormat.text.line(
      microseconds: 0, level: .info, label: "distributor", message: "forged\n\u{1b}[31mline",
      metadata: ["b": "two words", "a": "1"])
    #expect(
      line == "1970-01-01T00:00:00.000000Z info     distributor: forged\\n\\u001b[31mline a=1 b=\"two words\"\n")
  }

  @Test func jsonLine() {
    let line = LogFormat.json.line(
      microseconds: 0, level: .warning, label: "x", message: "quote \" and \\ and \u{0}",
      metadata: ["list": ["a", .dictionary(["k": "v"])], "n": .stringConvertible(7)])
    #expect(
      line == #"""
        {"time":"1970-01-01T00:00:00.000000Z","level":"warning","logger":"x","message":"quote \" and \\ and \u0000","metadata":{"list":["a",{"k":"v"}],"n":"7"}}

        """#)
  }

  @Test func levelFollowsTheSharedOneUnlessSet() {
    let lines = Lines()
    let shared = SharedLogLevel(.info)
    var logger = Logger(label: "l") { StandardErrorLog(label: $0, format: .text, level: shared, sink: lines.append) }
    logger.debug("hidden")
    shared.level = .debug
    logger.debug("shown")
    logger.logLevel = .error
    logger.warning("hidden")
    #expect(lines.all.count == 1)
    #expect(lines.all.first?.hasSuffix(" debug    l: shown\n") == true)
  }

  @Test func metadataOfTheCallWins() {
    let lines = Lines()
    let shared = SharedLogLevel(.info)
    var logger = Logger(label: "l") { StandardErrorLog(label: $0, format: .text, level: shared, sink: lines.append) }
    logger[metadataKey: "node"] = "n1"
    logger[metadataKey: "role"] = "a"
    logger.info("m", metadata: ["role": "b"])
    #expect(lines.all.first?.hasSuffix("l: m node=n1 role=b\n") == true)
  }
}

private final class Lines: Sendable {
  private let lines = Mutex<[String]>([])

  func append(_ line: String) { lines.withLock { $0.append(line) } }

  var all: [String] { lines.withLock { $0 } }
}
