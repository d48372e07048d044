// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel

extension LoadWorker {
  /// Reads what is there.
  ///
  /// - Parameter mayEnd: the connection's end may be in the queue behind the bytes.
  mutating func read(_ slot: Int, mayEnd: Bool) {
    let generation = connections[slot].generation
    do throws(SystemError) {
      while connections[slot].generation == generation {
        let progress: Progress
        switch connections[slot].phase {
        case .head: progress = try readHead(slot)
        case .body: progress = try readBody(slot)
        case .free, .connecting, .asking, .idle: return
        }
        if progress == .blocked || progress == .short && !mayEnd { return }
      }
    } catch {
      lose(slot, .reset)
    }
  }

  private enum Progress {
    case full
    /// The socket held less than was asked for.
    case short
    case blocked
  }

  private mutating func readHead(_ slot: Int) throws(SystemError) -> Progress {
    let piece = pieces.isEmpty ? nil : pieces.removeValue(forKey: slot)
    var before = 0
    if let piece {
      for byte in piece {
        buffer[before] = byte
        before += 1
      }
    }
    // A short body comes with its head in one read; of a long one as little as possible is copied.
    let wanted = plan.verifiedSeed != nil || lastBody <= 12_000 ? 16_384 : 1_024
    let result = try ClientSocket.read(connections[slot].descriptor, into: &buffer, from: before, limit: wanted)
    switch result {
    case .wouldBlock:
      if let piece { pieces[slot] = piece }
      return .blocked
    case .endOfStream:
      lose(slot, .closedEarly)
      return .blocked
    case .bytes(let count):
      let now = MonotonicTime.now()
      if !connections[slot].hasFirstByte {
        connections[slot].hasFirstByte = true
        report.firstByte.add(now &- connections[slot].started)
      }
      consume(slot, before + count, now)
      return count < wanted ? .short : .full
    }
  }

  private mutating func readBody(_ slot: Int) throws(SystemError) -> Progress {
    let left = connections[slot].bodyLeft
    let result: StreamSocket.ReadResult
    let wanted: Int
    if plan.verifiedSeed == nil {
      wanted = min(left, 1 << 30)
      result = try ClientSocket.discard(connections[slot].descriptor, limit: wanted)
    } else {
      wanted = min(left, buffer.count)
      result = try ClientSocket.read(connections[slot].descriptor, into: &buffer, from: 0, limit: wanted)
    }
    switch result {
    case .wouldBlock: return .blocked
    case .endOfStream:
      fail(slot, .closedEarly)
      return .blocked
    case .bytes(let count):
      if plan.verifiedSeed != nil, !verify(slot, 0..<count) { return .blocked }
      report.bytes += count
      connections[slot].bodyLeft = left - count
      connections[slot].bodyOffset += count
      if count == left { _ = finish(slot, MonotonicTime.now()) }
      return count < wanted ? .short : .full
    }
  }

  /// Works off the first `count` bytes of the buffer, which begin with a head.
  private mutating func consume(_ slot: Int, _ count: Int, _ now: UInt64) {
    var position = 0
    while position < count {
      let head: ResponseHead
      do {
        guard let found = try ResponseReader.head(buffer.span.extracting(position..<count)) else {
          if count - position > 16_384 { return fail(slot, .malformed) }
          pieces[slot] = Array(buffer[position..<count])
          return
        }
        head = found
      } catch {
        return fail(slot, .malformed)
      }
      guard take(slot, head) else { return }
      position += head.length
      let body = min(head.bodyLength, count - position)
      if plan.verifiedSeed != nil, !verify(slot, position..<position + body) { return }
      position += body
      report.bytes += body
      connections[slot].bodyLeft = head.bodyLength - body
      connections[slot].bodyOffset = body
      if connections[slot].bodyLeft > 0 { return }
      guard finish(slot, now) else { return }
    }
  }

  private mutating func take(_ slot: Int, _ head: ResponseHead) -> Bool {
    connections[slot].phase = .body
    connections[slot].bodyOffset = 0
    connections[slot].closes = head.closes
    connections[slot].isBad = head.status != 200
    lastBody = head.bodyLength
    if head.status != 200 {
      report.statuses["\(head.status)", default: 0] += 1
    } else if plan.verifiedSeed != nil, head.bodyLength != plan.paths[path(slot)].size {
      fail(slot, .content)
      return false
    }
    return true
  }

  /// The path that the present answer is for.
  private func path(_ slot: Int) -> Int { Int(batches[slot * plan.pipeline + connections[slot].answered]) }

  private mutating func verify(_ slot: Int, _ range: Range<Int>) -> Bool {
    if connections[slot].isBad || range.isEmpty { return true }
    let offset = connections[slot].bodyOffset
    let content = contents[path(slot)]
    if content.firstDifference(buffer.span.extracting(range), at: offset) != nil {
      fail(slot, .content)
      return false
    }
    report.verifiedBytes += range.count
    return true
  }

  /// One answer is complete. True when the next one of the same batch follows on the connection.
  private mutating func finish(_ slot: Int, _ now: UInt64) -> Bool {
    if connections[slot].isBad {
      report.fail(.status)
    } else {
      report.requests += 1
      report.latency.add(now &- connections[slot].started)
    }
    connections[slot].outstanding -= 1
    connections[slot].answered += 1
    connections[slot].carried += 1
    if connections[slot].outstanding > 0 {
      if connections[slot].closes {
        dialAgain(slot)
        return false
      }
      connections[slot].phase = .head
      return true
    }
    if plan.isKeptAlive, !connections[slot].closes {
      connections[slot].phase = .idle
    } else {
      close(slot)
    }
    release(slot)
    proceed(slot, now)
    return false
  }
}
