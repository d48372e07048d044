// SPDX-License-Identifier: Apache-2.0

public import Wire

/// Rules before policy: the first rule that a request meets says which pool of back-ends may serve it and whether it
/// sticks to one of them. A request that meets none may go to every back-end.
///
/// The dispatcher has them from its configuration and sends them to every distributor, which applies them to each request
/// head (`RuleTable`).
public struct RuleSet: Hashable, Sendable {
  public var rules: [Rule]
  /// The key of affinity hashes, drawn by the dispatcher: nobody else can aim at another client's entry.
  public var keyHigh: UInt64
  public var keyLow: UInt64

  public init(rules: [Rule] = [], keyHigh: UInt64 = 0, keyLow: UInt64 = 0) {
    self.rules = rules
    self.keyHigh = keyHigh
    self.keyLow = keyLow
  }

  /// Rules of one set.
  public static let maximumRules = 256
  /// Alternatives of one condition.
  public static let maximumAlternatives = 64
  /// Bytes of a name, pattern or cookie value.
  public static let maximumText = 255
}

/// Conditions, all of which must hold, and what follows. A condition is a list of alternatives, of which one must hold;
/// an empty list always holds.
public struct Rule: Hashable, Sendable {
  /// For logs and explanations; may be empty.
  public var name: String
  public var hosts: [HostPattern]
  /// Beginnings of the path (or of path and query), byte by byte as the client writes them.
  public var paths: [String]
  /// Request methods, in upper or lower case as they are (RFC 9110 section 9.1).
  public var methods: [String]
  public var cookies: [CookieCondition]
  public var clients: [AddressPrefix]
  /// Nil: every back-end.
  public var pool: String?
  public var stickiness: Stickiness?

  public init(
    name: String = "", hosts: [HostPattern] = [], paths: [String] = [], methods: [String] = [],
    cookies: [CookieCondition] = [], clients: [AddressPrefix] = [], pool: String? = nil, stickiness: Stickiness? = nil
  ) {
    self.name = name
    self.hosts = hosts
    self.paths = paths
    self.methods = methods
    self.cookies = cookies
    self.clients = clients
    self.pool = pool
    self.stickiness = stickiness
  }

  /// Compared without regard to case, to the port that the request names, and to a final dot.
  public struct HostPattern: Hashable, Sendable {
    /// In lower case, without port.
    public var name: String
    /// Any name that ends in a dot and `name`, but not `name` itself: `*.example.org`.
    public var coversSubdomains: Bool

    public init(name: String, coversSubdomains: Bool = false) {
      self.name = name
      self.coversSubdomains = coversSubdomains
    }
  }

  public struct CookieCondition: Hashable, Sendable {
    public var name: String
    /// Nil: any value.
    public var value: String?

    public init(name: String, value: String? = nil) {
      self.name = name
      self.value = value
    }
  }

  /// `192.0.2.0/24` or `2001:db8::/32`.
  public struct AddressPrefix: Hashable, Sendable, BitwiseCopyable {
    public var address: IPAddress
    /// Of the 128 bits of the address; 96 more than written for IPv4, which is kept in its IPv4-mapped form.
    public var length: UInt8

    public init(_ address: IPAddress, length: UInt8) {
      self.address = address
      self.length = min(length, 128)
    }

    @inlinable
    public func contains(_ other: IPAddress) -> Bool {
      let high = UInt64.max << UInt64(64 - min(Int(length), 64))
      let low = length <= 64 ? 0 : UInt64.max << UInt64(128 - Int(length))
      return (address.high ^ other.high) & high == 0 && (address.low ^ other.low) & low == 0
    }
  }

  /// What ties requests to one back-end.
  public struct Stickiness: Hashable, Sendable {
    public var source: Source
    /// Seconds after the last request until the tie is forgotten; at least 1.
    public var lifetime: UInt32

    public init(_ source: Source, lifetime: UInt32 = 1800) {
      self.source = source
      self.lifetime = max(1, lifetime)
    }
  }

  public enum Source: Hashable, Sendable {
    /// The client's IPv4 address, or the /64 that its IPv6 address is in.
    case client
    /// The value of a cookie. A request without it sticks by its client, and the first request that brings a new value
    /// joins the back-end of its client: that is where the session was made.
    case cookie(String)
  }
}
