// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// A wire between two interfaces of the calling thread's namespace: every frame that one receives is sent by the other,
/// unless the impairment says otherwise. Frames that are no TCP segments always pass.
public final class FrameWire {
  private let inside: FrameTap
  private let outside: FrameTap
  private var judge: ImpairmentJudge
  private var waiting: [(due: UInt64, frame: [UInt8], to: Impairment.Direction)] = []
  /// Larger than any frame: offloads are off on a wire, but a wrong setting shall show as what it is.
  private var buffer = [UInt8](repeating: 0, count: 1 << 16)

  public init(inside: String, outside: String, impairment: Impairment) throws {
    let first = try FrameTap(interface: inside)
    self.outside = try FrameTap(interface: outside)
    self.inside = first
    judge = ImpairmentJudge(impairment)
  }

  /// Forwards until the process ends; throws when an interface goes away.
  public func run() throws -> Never {
    var epoll = try Epoll(capacity: 2)
    try epoll.add(inside.raw, .read, token: 0)
    try epoll.add(outside.raw, .read, token: 1)
    while true {
      _ = epoll.wait(until: waiting.first?.due)
      try pass(.fromClient)
      try pass(.toClient)
      try sendDue(MonotonicTime.now())
    }
  }

  private func pass(_ direction: Impairment.Direction) throws {
    // Not more than a batch, so that neither direction starves the other.
    for _ in 0..<64 {
      let received =
        direction == .fromClient ? try inside.receive(into: &buffer) : try outside.receive(into: &buffer)
      guard let received else { return }
      // What this process sent comes by too.
      guard received.direction == .received else { continue }
      let frame = Array(buffer[..<received.count])
      for delay in judge.fate(of: frame.span, direction) {
        if delay == 0 { try send(frame, direction) } else { hold(frame, direction, for: delay) }
      }
    }
  }

  private func send(_ frame: [UInt8], _ direction: Impairment.Direction) throws {
    // A full queue loses the frame, as a switch does.
    _ = direction == .fromClient ? try outside.send(frame.span) : try inside.send(frame.span)
  }

  private func hold(_ frame: [UInt8], _ direction: Impairment.Direction, for nanoseconds: UInt64) {
    let due = MonotonicTime.now() &+ nanoseconds
    let index = waiting.firstIndex { $0.due > due } ?? waiting.count
    waiting.insert((due, frame, direction), at: index)
  }

  private func sendDue(_ now: UInt64) throws {
    while let first = waiting.first, first.due <= now {
      waiting.removeFirst()
      try send(first.frame, first.to)
    }
  }
}
