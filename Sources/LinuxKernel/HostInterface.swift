// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
public import Wire

/// A network interface of this host (of the network namespace of the process) with its addresses.
public struct HostInterface: Sendable, Hashable {
  public var name: String
  public var isUp: Bool
  public var isLoopback: Bool
  /// In the kernel's order; link-local IPv6 addresses included.
  public var addresses: [IPAddress]

  public init(name: String, isUp: Bool = true, isLoopback: Bool = false, addresses: [IPAddress]) {
    self.name = name
    self.isUp = isUp
    self.isLoopback = isLoopback
    self.addresses = addresses
  }

  /// All interfaces, in the kernel's order.
  public static func all() throws(SystemError) -> [HostInterface] {
    var first: UnsafeMutablePointer<ifaddrs>?
    _ = try Syscall.call("getifaddrs") { unsafe getifaddrs(&first) }
    defer { unsafe freeifaddrs(first) }
    var interfaces: [HostInterface] = []
    var next = unsafe first
    while let entry = unsafe next {
      let name = unsafe String(cString: entry.pointee.ifa_name)
      let flags = unsafe entry.pointee.ifa_flags
      var index = interfaces.firstIndex { $0.name == name } ?? -1
      if index < 0 {
        index = interfaces.count
        interfaces.append(
          HostInterface(name: name, isUp: flags & 1 != 0, isLoopback: flags & 8 != 0, addresses: []))
      }
      if let raw = unsafe entry.pointee.ifa_addr, let address = unsafe SocketAddress.address(raw) {
        interfaces[index].addresses.append(address)
      }
      unsafe next = unsafe entry.pointee.ifa_next
    }
    return interfaces
  }

  /// The address that the kernel would send from to reach `destination`. No packet leaves: a UDP socket is connected
  /// and asked for its name.
  public static func sourceAddress(towards destination: IPAddress) throws(SystemError) -> IPAddress {
    let family = destination.isIPv4 ? AF_INET : AF_INET6
    let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let socket = OwnedDescriptor(owning: try Syscall.call("socket") { Glibc.socket(family, type, 0) })
    let raw = socket.raw
    let target = SocketAddress(Endpoint(destination, 9))
    do throws(SystemError) {
      _ = try Syscall.call("connect") { unsafe target.withPointer { unsafe Glibc.connect(raw, $0, $1) } }
    } catch {
      throw error.on("\(destination)")
    }
    var own = SocketAddress()
    _ = try Syscall.call("getsockname") { unsafe own.withMutablePointer { unsafe getsockname(raw, $0, $1) } }
    guard let endpoint = own.endpoint else { throw SystemError("getsockname", errno: EAFNOSUPPORT) }
    return endpoint.address
  }
}
