// SPDX-License-Identifier: Apache-2.0

import ControlChannel
import ControlProtocol
import LinuxKernel
import Testing
import Wire

@Suite struct DialerTests {
  let own = Hello(role: .distributor, instance: 1, name: "fe")

  /// Drives a dialer until `condition` holds or two seconds passed.
  func drive(
    _ dialer: Dialer, _ epoll: inout Epoll, until condition: () -> Bool, on event: (Dialer.Event) -> Void
  ) {
    let deadline = MonotonicTime.now() + 2_000_000_000
    while !condition(), MonotonicTime.now() < deadline {
      let next = dialer.turn(epoll, now: MonotonicTime.now(), event)
      let ready = epoll.wait(until: min(next, MonotonicTime.now() + 1_000_000))
      for _ in 0..<ready { dialer.ready(now: MonotonicTime.now(), event) }
    }
    #expect(condition())
  }

  @Test func helloThenMessagesThenRedialAfterALoss() throws {
    let listener = try StreamSocket.listen(at: Endpoint(IPAddress(ipv4: 0x7f00_0001), 0))
    var epoll = try Epoll()
    let dialer = Dialer(
      to: try listener.localEndpoint(), as: own, expecting: .dispatcher, token: 5, now: MonotonicTime.now())
    for round in 1...2 {
      var peer: ControlConnection?
      var log: [String] = []
      drive(dialer, &epoll, until: { peer != nil }) { event in
        Issue.record("no event before the peer's hello: \(event)")
      } accepting: {
        if peer == nil, let accepted = try? listener.accept() {
          peer = ControlConnection(adopting: accepted.take(), now: MonotonicTime.now())
          peer?.send(.hello(Hello(role: .dispatcher, instance: 9, name: "d")))
          peer?.send(.goodbye("that is all in round \(round)"))
          try? peer?.flush()
        }
      }
      drive(dialer, &epoll, until: { log.count == 3 }) { event in
        switch event {
        case .established(_, let hello): log.append("established \(hello.name)")
        case .refused(let reason): log.append("refused \(reason)")
        case .lost(_, let wasEstablished): log.append("lost \(wasEstablished)")
        case .message: Issue.record("unexpected message")
        }
      }
      #expect(log == ["established d", "refused that is all in round \(round)", "lost true"])
    }
  }

  @Test func aPeerOfAnotherVersionOrRoleIsRefusedByName() throws {
    for wrong in [
      Hello(version: 999, role: .dispatcher, instance: 9, name: "d"), Hello(role: .backEnd, instance: 9, name: "d"),
    ] {
      let listener = try StreamSocket.listen(at: Endpoint(IPAddress(ipv4: 0x7f00_0001), 0))
      var epoll = try Epoll()
      let dialer = Dialer(
        to: try listener.localEndpoint(), as: own, expecting: .dispatcher, token: 5, now: MonotonicTime.now())
      var peer: ControlConnection?
      var reason: String?
      drive(dialer, &epoll, until: { reason != nil }) { event in
        if case .refused(let text) = event { reason = text }
      } accepting: {
        if peer == nil, let accepted = try? listener.accept() {
          peer = ControlConnection(adopting: accepted.take(), now: MonotonicTime.now())
          peer?.send(.hello(wrong))
          try? peer?.flush()
        }
      }
      #expect(reason?.contains("version \(wrong.version)") == true)
      #expect(dialer.connection == nil)
    }
  }

  @Test func backoffDoublesToItsBound() {
    var backoff = Backoff()
    #expect((0..<7).map { _ in backoff.failed() / 100_000_000 } == [1, 2, 4, 8, 16, 20, 20])
    backoff.succeeded()
    #expect(backoff.failed() == Backoff.shortest)
  }

  /// `drive` with something to do between turns.
  func drive(
    _ dialer: Dialer, _ epoll: inout Epoll, until condition: () -> Bool, on event: (Dialer.Event) -> Void,
    accepting: () -> Void
  ) {
    drive(
      dialer, &epoll,
      until: {
        accepting()
        return condition()
      }, on: event)
  }
}
