// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Synchronization
import Wire

/// Counts response bytes that cross a front, at its port of the bridge: what goes over that wire is seen whatever path
/// it takes inside the machine.
///
/// A TCP segment with payload counts when its source port is the clients' port or the web servers' port. Entering ones
/// come from a server to the front, leaving ones go from the front to a client. Control connections use other ports.
public final class ResponseCounter: Sendable {
  public struct Count: Sendable, Hashable {
    public var enteringBytes = 0
    public var leavingBytes = 0
    /// Frames that could not be looked at: the figures are too small by these.
    public var lostFrames = 0
  }

  private struct State {
    var count = Count()
    var failure: String?
  }

  private let state = Mutex(State())
  private let stopping: WakeUp
  private let thread = Mutex<WorkerThread?>(nil)

  /// Watches a node's port of the bridge.
  public init(port interface: String, of fabric: Fabric, sourcePorts: [UInt16]) throws(LabError) {
    do {
      stopping = try WakeUp()
      let filter = ResponseCounter.filter(sourcePorts)
      let box = TapBox(try fabric.namespace.perform { try FrameTap(interface: interface, filter: filter) })
      thread.withLock { $0 = WorkerThread(name: "responses") { [self] in watch(box) } }
    } catch {
      throw LabError("cannot watch \(interface): \(error)")
    }
  }

  /// Ends the watch and tells what was seen.
  public func stop() throws(LabError) -> Count {
    stopping.signal()
    thread.withLock { $0 }?.join()
    let state = state.withLock { $0 }
    if let failure = state.failure { throw LabError("the count of response bytes broke off: \(failure)") }
    return state.count
  }

  private final class TapBox: Sendable {
    let tap: FrameTap
    init(_ tap: consuming FrameTap) { self.tap = tap }
  }

  private func watch(_ box: TapBox) {
    var buffer = [UInt8](repeating: 0, count: 128)
    do {
      var epoll = try Epoll(capacity: 2)
      try epoll.add(box.tap.raw, .read, token: 1)
      try epoll.add(stopping.raw, .read, token: 0)
      var isStopping = false
      while !isStopping {
        let ready = epoll.wait(until: nil)
        for index in 0..<ready where epoll.ready(index).token == 0 { isStopping = true }
        var count = Count()
        while let frame = try box.tap.receive(into: &buffer) {
          let bytes = ResponseCounter.payload(of: buffer.span.extracting(0..<frame.count))
          // The bridge sends to the node what enters it.
          if frame.direction == .sent { count.enteringBytes += bytes } else { count.leavingBytes += bytes }
        }
        count.lostFrames = Int(box.tap.lostFrames())
        state.withLock {
          $0.count.enteringBytes += count.enteringBytes
          $0.count.leavingBytes += count.leavingBytes
          $0.count.lostFrames += count.lostFrames
        }
      }
    } catch {
      state.withLock { $0.failure = "\(error)" }
    }
  }

  /// TCP payload bytes of an Ethernet frame that the filter has let pass; of a segment that the kernel has not cut yet,
  /// all of them.
  private static func payload(of frame: Span<UInt8>) -> Int {
    guard frame.count >= 54 else { return 0 }
    let isIPv4 = frame[12] == 0x08
    let headerLength = isIPv4 ? Int(frame[14] & 0xf) * 4 : 40
    let totalLength = isIPv4 ? word(frame, 16) : word(frame, 18) + 40
    let transport = 14 + headerLength
    guard frame.count > transport + 12 else { return 0 }
    return max(0, totalLength - headerLength - Int(frame[transport + 12] >> 4) * 4)
  }

  private static func word(_ frame: Span<UInt8>, _ index: Int) -> Int {
    Int(frame[index]) << 8 | Int(frame[index + 1])
  }

  /// Unfragmented TCP over IPv4, and TCP over IPv6 without extension headers, from one of these ports.
  static func filter(_ ports: [UInt16]) -> [FilterInstruction] {
    let loadHalf: UInt16 = 0x28
    let loadByte: UInt16 = 0x30
    let jumpEqual: UInt16 = 0x15
    let accept = FilterInstruction(0x06, 0xffff)
    let reject = FilterInstruction(0x06, 0)

    // Compares with each port; falls to `reject` behind the comparisons, jumps over it to `accept`.
    func compare() -> [FilterInstruction] {
      ports.enumerated().map { index, port in
        FilterInstruction(jumpEqual, UInt32(port), jumpTrue: UInt8(ports.count - index))
      } + [reject, accept]
    }
    let ipv4 =
      [
        FilterInstruction(loadByte, 23), FilterInstruction(jumpEqual, 6, jumpTrue: 1), reject,
        FilterInstruction(loadHalf, 20), FilterInstruction(0x45, 0x1fff, jumpFalse: 1), reject,
        FilterInstruction(0xb1, 14), FilterInstruction(0x48, 14),
      ] + compare()
    let ipv6 =
      [
        FilterInstruction(loadByte, 20), FilterInstruction(jumpEqual, 6, jumpTrue: 1), reject,
        FilterInstruction(loadHalf, 54),
      ] + compare()
    return [
      FilterInstruction(loadHalf, 12),
      FilterInstruction(jumpEqual, 0x0800, jumpTrue: 2),
      FilterInstruction(jumpEqual, 0x86dd, jumpTrue: UInt8(1 + ipv4.count)),
      reject,
    ] + ipv4 + ipv6
  }
}
