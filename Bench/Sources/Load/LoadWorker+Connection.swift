// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

extension LoadWorker {
  /// Begins a batch of requests on a connection that has nothing under way, and opens it first when it is not open.
  mutating func begin(_ slot: Int, intended: UInt64) {
    let count = min(plan.pipeline, limit - issued)
    guard isIssuing, count > 0 else { return }
    for index in 0..<count { batches[slot * plan.pipeline + index] = chooser.next() }
    issued += count
    start(slot, count, intended: intended)
  }

  private mutating func start(_ slot: Int, _ count: Int, intended: UInt64) {
    busy += 1
    connections[slot].outstanding = count
    connections[slot].answered = 0
    connections[slot].started = intended
    connections[slot].hasFirstByte = false
    if connections[slot].phase == .idle {
      connections[slot].sent = 0
      connections[slot].deadline = MonotonicTime.now() &+ timeout
      send(slot)
    } else {
      dial(slot)
    }
  }

  private mutating func dial(_ slot: Int) {
    let endpoint = nextDial % plan.endpoints.count
    let source = sources[(plan.pairsSources ? endpoint : nextDial / plan.endpoints.count) % sources.count]
    nextDial &+= 1
    let now = MonotonicTime.now()
    connections[slot].endpoint = endpoint
    connections[slot].dialled = now
    connections[slot].deadline = now &+ timeout
    connections[slot].sent = 0
    connections[slot].carried = 0
    connections[slot].closes = false
    connections[slot].generation &+= 1
    do throws(SystemError) {
      let raw = try ClientSocket.dial(plan.endpoints[endpoint], from: source)
      connections[slot].descriptor = raw
      connections[slot].phase = .connecting
      var interest: Epoll.Interest = [.read, .write, .peerHangUp, .edgeTriggered]
      if hope[endpoint] > 0 {
        if try sendBatch(slot) {
          hope[endpoint] = 8
          established(slot)
          connections[slot].phase = .head
          interest = [.read, .peerHangUp, .edgeTriggered]
        } else {
          hope[endpoint] -= 1
        }
      }
      try epoll.add(raw, interest, token: UInt64(connections[slot].generation) << 32 | UInt64(slot))
    } catch {
      fail(slot, LoadReport.Failure(connecting: error))
    }
  }

  private mutating func established(_ slot: Int) {
    report.connections += 1
    report.connectTime.add(MonotonicTime.now() &- connections[slot].dialled)
  }

  mutating func serve(_ slot: Int, _ interest: Epoll.Interest) {
    switch connections[slot].phase {
    case .free: return
    case .connecting:
      if let error = StreamSocket.pendingError(connections[slot].descriptor, of: "connect") {
        fail(slot, LoadReport.Failure(connecting: error))
      } else if interest.contains(.write) {
        established(slot)
        send(slot)
      }
    case .asking: send(slot)
    case .head, .body:
      // A short read has emptied the queue, unless the peer's end is in it too.
      let mayEnd = !interest.isDisjoint(with: [.peerHangUp, .hangUp, .error])
      read(slot, mayEnd: mayEnd)
    case .idle: loseIdle(slot, interest)
    }
  }

  private mutating func send(_ slot: Int) {
    do {
      connections[slot].phase = try sendBatch(slot) ? .head : .asking
    } catch {
      lose(slot, .reset)
    }
  }

  /// Sends what remains of the batch; false when the socket does not take it all.
  private mutating func sendBatch(_ slot: Int) throws(SystemError) -> Bool {
    let raw = connections[slot].descriptor
    let sent = connections[slot].sent
    let first = slot * plan.pipeline + connections[slot].answered
    if connections[slot].outstanding == 1 {
      let range = table.ranges[Int(batches[first])]
      let rest = range.lowerBound + sent..<range.upperBound
      let count = try StreamSocket.write(raw, table.bytes.span.extracting(rest))
      connections[slot].sent = sent + count
      return count == rest.count
    }
    scratch.removeAll(keepingCapacity: true)
    for index in first..<first + connections[slot].outstanding {
      scratch += table.bytes[table.ranges[Int(batches[index])]]
    }
    let count = try StreamSocket.write(raw, scratch.span.extracting(sent..<scratch.count))
    connections[slot].sent = sent + count
    return sent + count == scratch.count
  }

  /// Ends the socket; the slot is free afterwards.
  mutating func close(_ slot: Int) {
    if connections[slot].descriptor >= 0 { StreamSocket.close(connections[slot].descriptor) }
    connections[slot].descriptor = -1
    connections[slot].phase = .free
    connections[slot].generation &+= 1
    if !pieces.isEmpty { pieces[slot] = nil }
  }

  /// What is under way on the connection has failed.
  mutating func fail(_ slot: Int, _ kind: LoadReport.Failure) {
    report.fail(kind, count: connections[slot].outstanding)
    close(slot)
    release(slot)
    switch plan.pace {
    case .closed: resting.append(slot)
    case .open: takeWaiting(slot)
    case .hold: return
    }
  }

  /// The connection is gone before the answer was complete. When it had carried answers and this one had not begun, the
  /// server has ended an idle connection, which it may: the batch goes out on a new one.
  mutating func lose(_ slot: Int, _ kind: LoadReport.Failure) {
    guard connections[slot].carried > 0, !connections[slot].hasFirstByte else { return fail(slot, kind) }
    report.reconnects += 1
    close(slot)
    dial(slot)
  }

  /// The server announced the end of the connection with requests of the batch unanswered: the rest goes out on a new
  /// one.
  mutating func dialAgain(_ slot: Int) {
    report.reconnects += 1
    close(slot)
    dial(slot)
  }

  private mutating func loseIdle(_ slot: Int, _ interest: Epoll.Interest) {
    guard !interest.isDisjoint(with: [.read, .peerHangUp, .hangUp, .error]) else { return }
    close(slot)
    switch plan.pace {
    case .closed: return
    case .open: freeSlots.append(slot)
    case .hold: report.fail(.closedEarly)
    }
  }

  /// Nothing is under way on the connection any more.
  mutating func release(_ slot: Int) {
    busy -= 1
    connections[slot].outstanding = 0
  }

  /// The next request for a connection that has become usable.
  mutating func proceed(_ slot: Int, _ now: UInt64) {
    switch plan.pace {
    case .closed: begin(slot, intended: now)
    case .open: takeWaiting(slot)
    case .hold: return
    }
  }

  private mutating func takeWaiting(_ slot: Int) {
    if firstWaiting < waiting.count {
      let intended = waiting[firstWaiting]
      firstWaiting += 1
      if firstWaiting == waiting.count {
        waiting.removeAll(keepingCapacity: true)
        firstWaiting = 0
      }
      batches[slot] = chooser.next()
      start(slot, 1, intended: intended)
    } else if connections[slot].phase == .idle {
      idleSlots.append(slot)
    } else {
      freeSlots.append(slot)
    }
  }
}

extension LoadReport.Failure {
  init(connecting error: SystemError) {
    self = error.isOutOfDescriptors ? .descriptors : error.isTimeout ? .connectTimeout : .connect
  }
}
