// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxKernel

/// A packet socket that sends whole frames by one interface and sees those that come in there.
final class RawLink: Sendable {
  private let descriptor: OwnedDescriptor
  private let splitting: Bool

  /// - Parameter splitting: frames are sent as socket buffers whose headers lie in another page than their first bytes;
  ///   they must be longer than a page for that.
  init(_ interface: String, splitting: Bool = false) throws(SystemError) {
    let type = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let everything = UInt16(ETH_P_ALL).bigEndian
    let raw = try Syscall.call("socket(AF_PACKET)") { socket(AF_PACKET, type, Int32(everything)) }
    descriptor = OwnedDescriptor(owning: raw)
    self.splitting = splitting
    var address = sockaddr_ll()
    address.sll_family = UInt16(AF_PACKET)
    address.sll_protocol = everything
    address.sll_ifindex = Int32(unsafe if_nametoindex(interface))
    _ = try Syscall.call("bind") {
      unsafe withUnsafePointer(to: &address) {
        unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          unsafe bind(raw, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
        }
      }
    }
    // SOL_PACKET; PACKET_IGNORE_OUTGOING, PACKET_VNET_HDR
    try SocketOption.set(raw, 263, 23, 1)
    if splitting { try SocketOption.set(raw, 263, 15, 1) }
  }

  func send(_ frame: Frame) throws(SystemError) {
    // struct virtio_net_hdr: no offload; of the packet, 14 bytes are linear (hdr_len).
    let bytes = splitting ? [0, 0, 14, 0, 0, 0, 0, 0, 0, 0] + frame.bytes : frame.bytes
    let raw = descriptor.raw
    _ = try Syscall.call("send(AF_PACKET)") {
      unsafe bytes.withUnsafeBytes { unsafe Glibc.send(raw, $0.baseAddress, $0.count, 0) }
    }
  }

  /// The next frame that comes in and that `matches`, nil when there is none within the time.
  func receive(within seconds: Double = 5, where matches: (Frame) -> Bool = { _ in true }) throws(SystemError) -> Frame?
  {
    let deadline = MonotonicTime.now() + UInt64(seconds * 1e9)
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let raw = descriptor.raw
    while true {
      let now = MonotonicTime.now()
      guard now < deadline else { return nil }
      var poller = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
      let timeout = Int32((deadline - now) / 1_000_000 + 1)
      guard try Syscall.call("poll", { unsafe poll(&poller, 1, timeout) }) > 0 else { return nil }
      let count = try Syscall.call("recv") {
        unsafe buffer.withUnsafeMutableBytes { unsafe recv(raw, $0.baseAddress, $0.count, 0) }
      }
      let frame = Frame(bytes: Array(buffer[(splitting ? 10 : 0)..<count]))
      if matches(frame) { return frame }
    }
  }
}
