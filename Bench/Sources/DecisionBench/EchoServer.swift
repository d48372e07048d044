// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import LinuxKernel
import Synchronization
import Wire

/// Answers every question at once with a decision that nothing was thought about: what the machine, the sockets, the codec
/// and a thread's loop cost by themselves. Connections, frames and the loop (wait, read all, write all, ask again for some
/// time before it sleeps) are those of the dispatcher.
final class EchoServer: Sendable {
  let endpoint: Endpoint
  private let stop: Stop
  private let thread: WorkerThread

  private final class Stop: Sendable {
    let isAsked = Atomic(false)
    let wakeUp: WakeUp
    init() throws(SystemError) { wakeUp = try WakeUp() }
  }

  /// - Parameters:
  ///   - nodes: answers name them in turn.
  ///   - busyWait: nanoseconds for which the thread asks again before it sleeps, as for a dispatcher.
  init(nodes: Int, busyWait: UInt64) throws {
    let listener = try StreamSocket.listen(at: Endpoint(IPAddress(ipv4: 0x7f00_0001), 0))
    let stop = try Stop()
    endpoint = try listener.localEndpoint()
    self.stop = stop
    let raw = listener.intoRaw()
    thread = WorkerThread(name: "echo") {
      let listener = StreamSocket(owning: OwnedDescriptor(owning: raw))
      guard var epoll = try? Epoll() else { return }
      try? epoll.add(listener.raw, .read, token: 0)
      try? epoll.add(stop.wakeUp.raw, .read, token: 1)
      var peers: [ControlConnection] = []
      var next = 0
      while !stop.isAsked.load(ordering: .acquiring) {
        let count = EchoServer.wait(&epoll, busyWait)
        let now = MonotonicTime.now()
        var asked: [(ControlConnection, [Decision])] = []
        for index in 0..<count {
          switch epoll.ready(index).token {
          case 0:
            while let accepted = try? listener.accept() {
              let peer = ControlConnection(adopting: accepted.take(), now: now)
              try? epoll.add(peer.descriptor, .read, token: UInt64(peers.count) + 2)
              peers.append(peer)
            }
          case 1: stop.wakeUp.clear()
          case let token:
            let peer = peers[Int(token) - 2]
            do throws(ControlChannelError) {
              try peer.receive(now: now) { message in
                guard case .decisionRequests(let requests) = message else { return }
                var decisions: [Decision] = []
                for request in requests {
                  next = next + 1 == nodes ? 0 : next + 1
                  decisions.append(Decision(id: request.id, outcome: .assigned(BackEndID(UInt16(next)))))
                }
                asked.append((peer, decisions))
              }
            } catch {
              try? epoll.remove(peer.descriptor)
            }
          }
        }
        for (peer, decisions) in asked {
          peer.send(.decisions(decisions))
          try? peer.flush()
        }
      }
    }
  }

  private static func wait(_ epoll: inout Epoll, _ busyWait: UInt64) -> Int {
    let end = MonotonicTime.now() + busyWait
    repeat {
      let count = epoll.wait(until: 0)
      if count > 0 { return count }
    } while MonotonicTime.now() < end
    return epoll.wait(until: nil)
  }

  func end() {
    stop.isAsked.store(true, ordering: .releasing)
    stop.wakeUp.signal()
    thread.join()
  }
}
