// SPDX-License-Identifier: Apache-2.0

import HTTPHead
import Testing

/// The scanner against h11 on generated heads. Where the two differ, the difference is in `KnownDifference` with its
/// reason, and the input has to show what the reason speaks of.
@Suite struct H11DifferentialTests {
  @Test func `scanner and h11 agree, but for the known differences`() throws {
    let seed: UInt64 = 0x6831_3120_6f72_6163
    var generator = HeadGenerator(random: SeededGenerator(seed: seed))
    var inputs = GoodHead.all.map(\.bytes) + BrokenHeads.all.map(\.bytes)
    inputs += (0..<12_000).map { _ in generator.next() }
    let verdicts = try H11.judge(inputs)
    #expect(verdicts.count == inputs.count)
    var accepted = 0
    var rejected = 0
    var seen: [KnownDifference: Int] = [:]
    for (input, verdict) in zip(inputs, verdicts) {
      let result = scan(input)
      let context: Comment = "seed \(seed): \(H11.hex(input)): \(result), h11 \(verdict)"
      switch (result, verdict) {
      case (.complete(let head), .accepted(let facts)):
        accepted += 1
        expectSameFacts(head, facts, input, context)
      case (.invalid, .rejected), (.incomplete, .incomplete): rejected += 1
      // The scanner names an error at its byte; h11 waits for the empty line.
      case (.invalid, .incomplete): rejected += 1
      // h11 refuses an incomplete head only for its first byte.
      case (.incomplete, .rejected): #expect(input.first == 0x0d, context)
      case (.incomplete, .accepted): Issue.record(context)
      case (.complete(let head), .incomplete), (.complete(let head), .rejected):
        let known = KnownDifference.onlyScannerAccepts(head, input)
        if let known { seen[known, default: 0] += 1 } else { Issue.record(context) }
      case (.invalid(let error), .accepted(let facts)):
        let known = KnownDifference.onlyH11Accepts(error, facts, input)
        if let known { seen[known, default: 0] += 1 } else { Issue.record(context) }
      }
    }
    // The corpus is worth its name only if both answers and every listed difference occur in it.
    #expect(accepted > 2000, "\(accepted) accepted by both, \(rejected) refused by both")
    #expect(rejected > 2000, "\(accepted) accepted by both, \(rejected) refused by both")
    for known in KnownDifference.allCases { #expect(seen[known, default: 0] > 0, "\(known) does not occur: \(seen)") }
  }

  private func expectSameFacts(_ head: RequestHead, _ facts: H11.Facts, _ input: [UInt8], _ context: Comment) {
    #expect(text(input, head.methodRange) == facts.method, context)
    #expect(text(input, head.targetRange) == facts.target, context)
    #expect(text(input, head.routingTarget) == facts.routing, context)
    #expect("\(head.version.major).\(head.version.minor)" == facts.minor, context)
    #expect(head.length == facts.headLength, context)
    switch head.body {
    case .none: #expect(facts.body == "0", context)
    case .contentLength(let length): #expect(UInt64(facts.body) == length, context)
    case .chunked: #expect(facts.body == "chunked", context)
    }
    // h11 never keeps an HTTP/1.0 connection, and offers it no upgrade.
    if head.version.minor > 0 {
      #expect(head.keepAlive == !facts.close, context)
      #expect(head.upgrade == facts.upgrade, context)
    }
    #expect(head.expectsContinue == facts.expectsContinue, context)
    if head.targetForm == .origin {
      #expect(head.host.map { [H11.hex(Array(input[$0]))] } ?? [] == facts.hosts, context)
    }
  }
}

enum KnownDifference: CaseIterable {
  /// RFC 9112 section 2.2 wants empty lines before the request line taken; h11 does not.
  case emptyLineFirst
  /// All four web servers take bytes above 0x7f in a target, as clients send them unencoded; h11 does not.
  case highByteInTarget
  /// h11 takes a line feed alone as the end of a line.
  case bareLineFeed
  /// h11 joins folded lines.
  case lineFolding
  /// h11 takes all control characters but NUL and white space in values: cookies with 0x01 exist. Three of four
  /// web servers refuse them.
  case controlInValue
  /// h11 takes any visible characters as a target, whatever the method.
  case invalidTarget
  /// h11 counts Hosts but does not look into them, nor into the target.
  case invalidHost
  case mismatchedHost
  /// h11 wants Host in HTTP/1.1 but not in HTTP/1.2, which is to be treated as HTTP/1.1 (RFC 9110 section 2.5).
  case missingHostInLaterMinor
  /// h11 takes equal Content-Lengths.
  case repeatedContentLength
  /// h11 counts in integers without end.
  case hugeContentLength
  /// h11 lets Transfer-Encoding win over Content-Length.
  case bothFramings
  /// h11 takes Transfer-Encoding in HTTP/1.0.
  case transferEncodingInHTTP10
  /// h11 takes every major version.
  case majorVersion
  case tooManyFields
  case methodTooLong
  case targetTooLong

  static func onlyScannerAccepts(_ head: RequestHead, _ input: [UInt8]) -> KnownDifference? {
    if input.starts(with: [0x0d, 0x0a]) { return .emptyLineFirst }
    return input[head.targetRange].contains { $0 > 0x7f } ? .highByteInTarget : nil
  }

  /// The difference that explains `error`, if the input shows it.
  static func onlyH11Accepts(_ error: RequestHeadError, _ facts: H11.Facts, _ input: [UInt8]) -> KnownDifference? {
    let head = input.prefix(facts.headLength)
    let lines = String(decoding: head, as: UTF8.self).lowercased().split(separator: "\r\n")
    func count(_ name: String) -> Int { lines.count { $0.hasPrefix(name + ":") } }
    func value(_ name: String) -> Substring? {
      lines.first { $0.hasPrefix(name + ":") }?.dropFirst(name.utf8.count + 1)
    }
    switch error {
    case .bareLineFeed, .missingVersion, .malformedVersion:
      return zip([0x20] + head, head).contains { $0 != 0x0d && $1 == 0x0a } ? .bareLineFeed : nil
    case .lineFolding:
      return zip(head.dropLast(), head.dropFirst()).contains { $0 == 0x0a && ($1 == 0x20 || $1 == 0x09) }
        ? .lineFolding : nil
    case .invalidFieldValue:
      return head.contains { ($0 < 0x20 || $0 == 0x7f) && ![0, 9, 10, 13].contains($0) } ? .controlInValue : nil
    case .invalidTarget:
      let isPath = facts.target.hasPrefix("/") && !facts.target.contains("#") && facts.method != "CONNECT"
      let isAsterisk = facts.target == "*" && facts.method == "OPTIONS"
      return isPath || isAsterisk ? nil : .invalidTarget
    case .invalidHost:
      let isPlain = facts.hosts.allSatisfy { $0.isEmpty } && facts.target.hasPrefix("/")
      return isPlain ? nil : .invalidHost
    case .mismatchedHost: return facts.target.hasPrefix("/") ? nil : .mismatchedHost
    case .missingHost: return facts.hosts.isEmpty && facts.minor > "1.1" ? .missingHostInLaterMinor : nil
    case .repeatedContentLength:
      return count("content-length") > 1 || value("content-length")?.contains(",") == true
        ? .repeatedContentLength : nil
    case .invalidContentLength: return UInt64(facts.body) == nil ? .hugeContentLength : nil
    case .contentLengthWithTransferEncoding:
      return count("content-length") == 1 && facts.body == "chunked" ? .bothFramings : nil
    case .transferEncodingInHTTP10:
      return facts.minor == "1.0" && facts.body == "chunked" ? .transferEncodingInHTTP10 : nil
    case .unsupportedVersion: return facts.minor.hasPrefix("1.") ? nil : .majorVersion
    case .tooManyFields: return lines.count > 129 ? .tooManyFields : nil
    case .methodTooLong: return facts.method.utf8.count > 64 ? .methodTooLong : nil
    case .targetTooLong: return facts.target.utf8.count > 8192 ? .targetTooLong : nil
    default: return nil
    }
  }
}
