// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Wire

/// A sockaddr_in or sockaddr_in6 of an `Endpoint`.
struct SocketAddress {
  private(set) var storage = sockaddr_storage()
  private(set) var length: socklen_t

  /// Room for an address that the kernel fills in.
  init() { length = socklen_t(MemoryLayout<sockaddr_storage>.size) }

  /// - Parameter scope: interface index, needed for link-local IPv6 addresses.
  init(_ endpoint: Endpoint, scope: UInt32 = 0) {
    if endpoint.address.isIPv4 {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = endpoint.port.bigEndian
      address.sin_addr.s_addr = endpoint.address.ipv4Bits.bigEndian
      length = socklen_t(MemoryLayout<sockaddr_in>.size)
      unsafe withUnsafeMutableBytes(of: &storage) { unsafe $0.storeBytes(of: address, as: sockaddr_in.self) }
    } else {
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = endpoint.port.bigEndian
      address.sin6_scope_id = scope
      unsafe withUnsafeMutableBytes(of: &address.sin6_addr) {
        unsafe $0.storeBytes(of: endpoint.address.high.bigEndian, toByteOffset: 0, as: UInt64.self)
        unsafe $0.storeBytes(of: endpoint.address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
      length = socklen_t(MemoryLayout<sockaddr_in6>.size)
      unsafe withUnsafeMutableBytes(of: &storage) { unsafe $0.storeBytes(of: address, as: sockaddr_in6.self) }
    }
  }

  /// The address that the kernel filled in, nil for another family.
  var endpoint: Endpoint? {
    unsafe withUnsafeBytes(of: storage) { bytes -> Endpoint? in
      let port = UInt16(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
      switch Int32(storage.ss_family) {
      case AF_INET:
        let bits = UInt32(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        return Endpoint(IPAddress(ipv4: bits), port)
      case AF_INET6:
        let high = UInt64(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        let low = UInt64(bigEndian: unsafe bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
        return Endpoint(IPAddress(high: high, low: low), port)
      default: return nil
      }
    }
  }

  func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    unsafe withUnsafePointer(to: storage) {
      unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, length) }
    }
  }

  mutating func withMutablePointer<Result>(
    _ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Result
  ) -> Result {
    unsafe withUnsafeMutablePointer(to: &storage) { storage in
      unsafe storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        unsafe withUnsafeMutablePointer(to: &length) { unsafe body(address, $0) }
      }
    }
  }
}
