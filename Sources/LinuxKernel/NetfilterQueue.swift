// SPDX-License-Identifier: Apache-2.0

import CLinux
import Clibmnl
import Clibnetfilter_queue
import Glibc

/// One NFQUEUE whose packets this process consumes: every packet is copied to user space and dropped by the kernel.
///
/// Configured without NFQA_CFG_F_GSO, so that the kernel segments what its offloads merged and completes checksums
/// before it queues (`nfqnl_enqueue_packet`), and without NFQA_CFG_F_FAIL_OPEN, so that a full queue drops packets,
/// which the sender repeats, instead of giving them to the local stack, which would reset the connection.
@safe
public struct NetfilterQueue: ~Copyable {
  private let socket: NetfilterQueueSocket
  private var buffer: [UInt8]
  private var messages: [clinux_mmsghdr]
  private var vectors: [iovec]
  private var attributes: [UnsafeMutablePointer<nlattr>?]

  /// Packets taken per system call.
  public static let batch = 32
  /// Room for one packet of 1,500 bytes and its attributes; a larger packet is cut by the kernel and then refused by the
  /// parser.
  private static let slot = 4096

  /// - Parameters:
  ///   - number: the queue that the rule names.
  ///   - maximumLength: packets that the kernel keeps for us; beyond, they are dropped.
  /// - Throws: EPERM without CAP_NET_ADMIN, EBUSY when another process has the queue.
  public init(number: UInt16, maximumLength: UInt32) throws(SystemError) {
    let socket = try NetfilterQueueSocket(number: number)
    do throws(SystemError) {
      try socket.configure(maximumLength: maximumLength)
    } catch {
      throw error.on("NFQUEUE \(number)")
    }
    self.socket = socket
    buffer = Array(repeating: 0, count: NetfilterQueue.batch * NetfilterQueue.slot)
    unsafe messages = unsafe Array(repeating: clinux_mmsghdr(), count: NetfilterQueue.batch)
    unsafe vectors = unsafe Array(repeating: iovec(), count: NetfilterQueue.batch)
    unsafe attributes = unsafe Array(repeating: nil, count: Int(__NFQA_MAX.rawValue))
  }

  public var descriptor: Int32 { socket.descriptor }

  /// Takes one batch of packets, gives each from its IP header on, and drops them all in the kernel by one verdict.
  ///
  /// - Returns: how many packets; less than `batch` means that the queue was empty.
  public mutating func receive<Context: ~Copyable>(
    into context: inout Context, _ body: (inout Context, Span<UInt8>) -> Void
  ) throws(SystemError) -> Int {
    let descriptor = self.descriptor
    let count: Int32? = try receiveBatch(descriptor)
    guard let count, count > 0 else { return 0 }
    var last: UInt32?
    for index in 0..<Int(count) {
      let length = unsafe Int(messages[index].length)
      unsafe buffer.withUnsafeMutableBytes { bytes in
        // SAFETY: the kernel wrote `length` bytes into slot `index`; the parser checks each attribute against it.
        let start = unsafe bytes.baseAddress! + index * NetfilterQueue.slot
        let header = unsafe start.assumingMemoryBound(to: nlmsghdr.self)
        guard unsafe mnl_nlmsg_ok(header, Int32(length)),
          unsafe Int32(header.pointee.nlmsg_type) & 0xff == Int32(NFQNL_MSG_PACKET.rawValue)
        else { return }
        for attribute in unsafe attributes.indices { unsafe attributes[attribute] = nil }
        let parsed = unsafe attributes.withUnsafeMutableBufferPointer {
          unsafe nfq_nlmsg_parse(header, $0.baseAddress)
        }
        guard parsed >= 0,
          let packetHeader = unsafe attributes[Int(NFQA_PACKET_HDR.rawValue)],
          let payload = unsafe attributes[Int(NFQA_PAYLOAD.rawValue)]
        else { return }
        let id = unsafe mnl_attr_get_payload(packetHeader)!.loadUnaligned(as: UInt32.self).bigEndian
        last = id
        let packet = unsafe UnsafeRawBufferPointer(
          start: mnl_attr_get_payload(payload), count: Int(mnl_attr_get_payload_len(payload)))
        unsafe body(&context, packet.bindMemory(to: UInt8.self).span)
      }
    }
    if let last { try drop(through: last) }
    return Int(count)
  }

  private mutating func receiveBatch(_ descriptor: Int32) throws(SystemError) -> Int32? {
    // The pointers are set anew for each call: Swift promises no stable address of an array's storage between accesses.
    try Syscall.callUnlessBlocked("recvmmsg") {
      unsafe buffer.withUnsafeMutableBytes { bytes in
        unsafe vectors.withUnsafeMutableBufferPointer { vectors in
          unsafe messages.withUnsafeMutableBufferPointer { messages in
            for index in 0..<NetfilterQueue.batch {
              unsafe vectors[index] = unsafe iovec(
                iov_base: bytes.baseAddress! + index * NetfilterQueue.slot, iov_len: NetfilterQueue.slot)
              unsafe messages[index].header.msg_iov = unsafe vectors.baseAddress! + index
              unsafe messages[index].header.msg_iovlen = 1
            }
            return unsafe clinux_recvmmsg(
              descriptor, messages.baseAddress, UInt32(NetfilterQueue.batch), Int32(MSG_DONTWAIT))
          }
        }
      }
    }
  }

  /// NF_DROP for every packet up to `id`.
  private func drop(through id: UInt32) throws(SystemError) {
    // nlmsghdr (16), nfgenmsg (4), attribute header (4), nfqnl_msg_verdict_hdr (8): include/uapi/linux/netfilter.
    let words: InlineArray<8, UInt32> = [
      32, UInt32(NFNL_SUBSYS_QUEUE) << 8 | UInt32(NFQNL_MSG_VERDICT_BATCH.rawValue) | UInt32(NLM_F_REQUEST) << 16, 0,
      0, UInt32(socket.number.bigEndian) << 16, 12 | UInt32(NFQA_VERDICT_HDR.rawValue) << 16, 0, id.bigEndian,
    ]
    let descriptor = self.descriptor
    _ = try Syscall.callUnlessBlocked("send") {
      unsafe words.span.withUnsafeBytes { unsafe send(descriptor, $0.baseAddress, $0.count, 0) }
    }
  }
}
