// SPDX-License-Identifier: Apache-2.0

import BackEndCore
import ForwardingPlane
import Handoff
import LinuxKernel
import Synchronization
import Wire

/// Which address families are served directly just now; the control thread decides, the loops look.
final class DirectFamilies: Sendable {
  private let ipv4 = Atomic<Bool>(false)
  private let ipv6 = Atomic<Bool>(false)

  func set(_ value: Bool, isIPv4: Bool) {
    if isIPv4 { ipv4.store(value, ordering: .relaxed) } else { ipv6.store(value, ordering: .relaxed) }
  }

  func contains(isIPv4: Bool) -> Bool { isIPv4 ? ipv4.load(ordering: .relaxed) : ipv6.load(ordering: .relaxed) }
}

/// One event loop's hand in the serving plane: puts connections before the web server's listener and reads what became of
/// them. Owned by the loop's thread.
final class DirectInstaller {
  let plane: ServePlane
  let families: DirectFamilies
  let ring: EventRing
  let loop: Int
  var comparison = ComparisonPlan()
  /// The slot from which on connections are looked at in turn.
  var nextLook = 0

  private var injector: Injector
  /// Handoffs by packet of which nothing was told.
  var leftovers = AgeBook<PendingConnections.Leftover>()

  init(_ plane: ServePlane, _ families: DirectFamilies, loop: Int) throws(SystemError) {
    let ring = try plane.ring(loop)
    let injector = try Injector()
    self.plane = plane
    self.families = families
    self.loop = loop
    self.ring = ring
    self.injector = injector
  }

  /// Sends the request through `lo` to the listener. When the kernel's queue is not busy the connection stands, and its
  /// event is in the ring, when this returns.
  ///
  /// - Throws: ENOENT for `.again` when the connection stands already; E2BIG or ENOMEM when the kernel has no room.
  func inject(
    _ snapshot: TCPSnapshot, _ request: [UInt8], token: UInt64, _ mode: PendingConnections.Mode
  ) throws(SystemError) {
    let segment = snapshot.segment(requestBytes: request.count)
    try plane.pending.insert(snapshot, sequence: segment.sequence, token: token, loop: loop, mode)
    injector.send(segment, request)
  }
}

/// Puts segments of clients on `lo`.
private struct Injector: ~Copyable {
  private var sender: RawPacketSender
  private var packet: [UInt8] = Array(repeating: 0, count: 65_535)

  init() throws(SystemError) { sender = try RawPacketSender() }

  mutating func send(_ segment: TCPSegment, _ payload: [UInt8]) {
    var bytes = packet.mutableSpan
    let length = segment.emit(payload: payload.span, into: &bytes)
    let range: InlineArray<1, Range<Int>> = [0..<length]
    let whole = packet
    _ = sender.send(range.span, of: whole.span)
  }
}
