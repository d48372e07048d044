// SPDX-License-Identifier: Apache-2.0

import Clibmnl
import Glibc
import Wire

/// One netlink request under construction; libmnl knows the layout.
@safe
struct NetlinkRequest: ~Copyable {
  private let storage: UnsafeMutableRawPointer
  private let header: UnsafeMutablePointer<nlmsghdr>
  private static let capacity = 1024

  init(type: Int32, flags: Int32) {
    // SAFETY: every request of this module is far shorter than the buffer: a fixed header and at most ten attributes of
    // at most 20 bytes.
    unsafe storage = .allocate(byteCount: NetlinkRequest.capacity, alignment: 8)
    unsafe storage.initializeMemory(as: UInt8.self, repeating: 0, count: NetlinkRequest.capacity)
    unsafe header = mnl_nlmsg_put_header(storage)
    unsafe header.pointee.nlmsg_type = UInt16(type)
    unsafe header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | flags)
  }

  deinit { unsafe storage.deallocate() }

  /// Adds the fixed header of the message's family, once, before any attribute.
  borrowing func putHeader<Header: BitwiseCopyable>(_ value: Header) {
    let place = unsafe mnl_nlmsg_put_extra_header(header, MemoryLayout<Header>.size)
    unsafe place!.storeBytes(of: value, as: Header.self)
  }

  borrowing func put(_ attribute: Int, _ value: UInt8) { unsafe mnl_attr_put_u8(header, UInt16(attribute), value) }
  borrowing func put(_ attribute: Int, _ value: UInt32) { unsafe mnl_attr_put_u32(header, UInt16(attribute), value) }
  borrowing func put(_ attribute: Int, _ value: String) { unsafe mnl_attr_put_strz(header, UInt16(attribute), value) }

  borrowing func put(_ attribute: Int, _ bytes: Span<UInt8>) {
    unsafe bytes.withUnsafeBytes { unsafe mnl_attr_put(header, UInt16(attribute), $0.count, $0.baseAddress) }
  }

  /// An address in network order, 4 or 16 bytes.
  borrowing func put(_ attribute: Int, _ address: IPAddress) {
    put(attribute, address.networkBytes.span)
  }

  borrowing func withBytes<Result>(sequence: UInt32, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    unsafe header.pointee.nlmsg_seq = sequence
    return unsafe body(UnsafeRawBufferPointer(start: storage, count: Int(header.pointee.nlmsg_len)))
  }
}

extension IPAddress {
  var family: UInt8 { UInt8(isIPv4 ? AF_INET : AF_INET6) }

  /// The length of a prefix that names this address alone.
  var hostPrefix: UInt8 { isIPv4 ? 32 : 128 }

  var networkBytes: [UInt8] {
    if isIPv4 { return (0..<4).map { UInt8(truncatingIfNeeded: ipv4Bits >> UInt32(24 - $0 * 8)) } }
    return (0..<16).map { UInt8(truncatingIfNeeded: ($0 < 8 ? high : low) >> UInt64(56 - $0 % 8 * 8)) }
  }

  init?(networkBytes bytes: Span<UInt8>) {
    switch bytes.count {
    case 4: self.init(ipv4: bytes.readUInt32(at: 0))
    case 16: self.init(high: bytes.readUInt64(at: 0), low: bytes.readUInt64(at: 8))
    default: return nil
    }
  }
}

/// One message of the kernel: its type and where its attributes are. Offsets are checked against the message's length.
struct NetlinkReply {
  var type: UInt16
  /// The family's header and the attributes.
  var body: [UInt8]

  /// A little-endian or native field of the family's header; 0 beyond the end.
  func native<Value: FixedWidthInteger>(at offset: Int, as type: Value.Type = Value.self) -> Value {
    guard offset >= 0, offset + MemoryLayout<Value>.size <= body.count else { return 0 }
    return unsafe body.withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: offset, as: Value.self) }
  }

  /// The payload range of each attribute after a family header of `headerLength` bytes.
  func attributes(after headerLength: Int) -> [Int: Range<Int>] {
    var result: [Int: Range<Int>] = [:]
    var offset = (headerLength + 3) & ~3
    while offset + 4 <= body.count {
      let length = Int(native(at: offset, as: UInt16.self))
      // NLA_TYPE_MASK: the two upper bits are flags.
      let kind = Int(native(at: offset + 2, as: UInt16.self) & 0x3fff)
      guard length >= 4, offset + length <= body.count else { break }
      result[kind] = offset + 4..<offset + length
      offset += (length + 3) & ~3
    }
    return result
  }

  func address(_ range: Range<Int>?) -> IPAddress? {
    guard let range else { return nil }
    return IPAddress(networkBytes: body.span.extracting(range))
  }
}
