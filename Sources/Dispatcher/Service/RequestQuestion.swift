// SPDX-License-Identifier: Apache-2.0

internal import ControlProtocol
public import DispatcherCore
internal import HTTPHead
public import Rules
public import Wire

/// A request that somebody asks about: written as a head and read by the scanner that distributors use.
public struct RequestQuestion: Hashable, Sendable {
  let bytes: [UInt8]
  let facts: RequestFacts
  /// `TargetHash` of path and query.
  public let target: UInt64

  /// Why there is no such request.
  public enum Failure: Error, Hashable, Sendable {
    case invalid(RequestHeadRefusal)

    /// A line break in an argument would smuggle in fields of its own.
    case lineBreak
  }

  /// The scanner's reason and the answer that a client would get.
  public struct RequestHeadRefusal: Hashable, Sendable {
    public var reason: String
    public var status: UInt16

    public init(reason: String, status: UInt16) {
      self.reason = reason
      self.status = status
    }
  }

  /// - Parameters:
  ///   - target: as in a request line: `/path?query`, or absolute.
  ///   - cookie: the value of the Cookie field, such as `a=1; b=2`.
  public init(
    method: String = "GET", target: String, host: String?, cookie: String? = nil, client: IPAddress
  ) throws(Failure) {
    var head = "\(method) \(target) HTTP/1.\(host == nil ? 0 : 1)\r\n"
    if let host { head += "Host: \(host)\r\n" }
    if let cookie { head += "Cookie: \(cookie)\r\n" }
    for part in [method, target, host ?? "", cookie ?? ""] where part.utf8.contains(where: { $0 == 10 || $0 == 13 }) {
      throw .lineBreak
    }
    let bytes = Array((head + "\r\n").utf8)
    self.bytes = bytes
    var scanner = RequestHeadScanner(limits: RequestHeadLimits())
    switch scanner.scan(bytes.span) {
    case .complete(let head):
      facts = RequestFacts(head, in: bytes.span, client: client)
      self.target = TargetHash.key.hash(bytes.span.extracting(head.routingTarget))
    case .invalid(let error): throw .invalid(RequestHeadRefusal(reason: "\(error)", status: error.status))
    case .incomplete: throw .invalid(RequestHeadRefusal(reason: "incomplete", status: 400))
    }
  }
}

/// Where a request would go, with the rule that it meets.
public struct RequestExplanation: Hashable, Sendable {
  /// `TargetHash` of path and query.
  public var target: UInt64
  public var route: Route
  /// Position of the rule in `rules`; nil when it meets none.
  public var rule: Int?
  public var rules: [Rule]
  public var placement: Explanation
}
