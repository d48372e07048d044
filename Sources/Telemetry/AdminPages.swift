// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// What an admin server answers besides `/metrics` and `/healthz`: roles add pages when they start.
public final class AdminPages: Sendable {
  public struct Page: Sendable, Hashable {
    public var status: Int
    public var contentType: String
    public var body: [UInt8]

    public init(status: Int = 200, contentType: String, body: [UInt8]) {
      self.status = status
      self.contentType = contentType
      self.body = body
    }

    /// A line of text.
    public static func text(_ text: String, status: Int = 200) -> Page {
      Page(status: status, contentType: "text/plain; charset=utf-8", body: Array("\(text)\n".utf8))
    }
  }

  /// Gets the query's parameters; of several of one name the last.
  public typealias Handler = @Sendable ([String: String]) async -> Page

  private let handlers = Mutex<[String: Handler]>([:])

  public init() {}

  public func add(_ path: String, _ handler: @escaping Handler) { handlers.withLock { $0[path] = handler } }

  func handler(of path: String) -> Handler? { handlers.withLock { $0[path] } }
}
