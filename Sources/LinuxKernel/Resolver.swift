// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
public import Wire

/// Host names to addresses, by the system's own resolver (getaddrinfo: /etc/hosts, DNS). Blocks; never on an event loop.
public enum Resolver {
  public struct Failure: Error, Sendable, Hashable, CustomStringConvertible {
    public var name: String
    /// gai_strerror's text.
    public var reason: String
    /// Whether trying again later may help (EAI_AGAIN, and names that are not there yet).
    public var isTemporary: Bool

    public var description: String { "\(name): \(reason)" }
  }

  /// The TCP addresses of a name or address literal, in the order of RFC 6724, without duplicates; never empty.
  public static func addresses(of name: String) throws(Failure) -> [IPAddress] {
    if let address = IPAddress(name) { return [address] }
    var hints = unsafe addrinfo()
    unsafe hints.ai_family = AF_UNSPEC
    unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var first: UnsafeMutablePointer<addrinfo>?
    let code = unsafe getaddrinfo(name, nil, &hints, &first)
    guard code == 0 else {
      let reason = unsafe code == EAI_SYSTEM ? String(cString: strerror(errno)) : String(cString: gai_strerror(code))
      throw Failure(name: name, reason: reason, isTemporary: [EAI_AGAIN, EAI_NONAME, EAI_SYSTEM].contains(code))
    }
    defer { unsafe freeaddrinfo(first) }
    var addresses: [IPAddress] = []
    var next = unsafe first
    while let entry = unsafe next {
      if let raw = unsafe entry.pointee.ai_addr, let address = unsafe SocketAddress.address(raw),
        !addresses.contains(address)
      {
        addresses.append(address)
      }
      unsafe next = unsafe entry.pointee.ai_next
    }
    if addresses.isEmpty { throw Failure(name: name, reason: "no IPv4 or IPv6 address", isTemporary: true) }
    return addresses
  }
}

extension SocketAddress {
  /// The address of a sockaddr that glibc gave, nil for other families than IPv4 and IPv6.
  static func address(_ raw: UnsafePointer<sockaddr>) -> IPAddress? {
    // SAFETY: the family tells how long the structure behind the pointer is.
    let bytes = unsafe UnsafeRawPointer(raw)
    switch Int32(unsafe raw.pointee.sa_family) {
    case AF_INET:
      return IPAddress(ipv4: UInt32(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
    case AF_INET6:
      return IPAddress(
        high: UInt64(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
        low: UInt64(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)))
    default: return nil
    }
  }
}
