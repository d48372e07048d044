// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxKernel
import Wire

/// Replays requests over real TCP connections and checks every byte of every answer.
///
/// One event loop: as many connections are open as the plan allows, the next one is opened when one ends.
public final class ReplayClient {
  private let plan: ReplayPlan
  private let endpoints: [Endpoint]
  private let sources: [IPAddress]
  private var epoll: Epoll
  private var sessions: [UInt64: ReplaySession] = [:]
  private var nextConnection = 0
  private var nextToken: UInt64 = 0
  private var buffer = [UInt8](repeating: 0, count: 1 << 18)
  private var report = ReplayReport()

  public init(_ plan: ReplayPlan) throws(LabError) {
    self.plan = plan
    let endpoints = try plan.endpoints.map { text throws(LabError) in
      guard let endpoint = ReplayPlan.endpoint(text) else { throw LabError("'\(text)' is no address:port") }
      return endpoint
    }
    let sources = try plan.sources.map { text throws(LabError) in
      guard let address = IPAddress(text) else { throw LabError("'\(text)' is no address") }
      return address
    }
    for endpoint in endpoints where !sources.contains(where: { $0.isIPv4 == endpoint.address.isIPv4 }) {
      throw LabError("no source address for \(endpoint)")
    }
    self.endpoints = endpoints
    self.sources = sources
    do {
      epoll = try Epoll()
    } catch {
      throw LabError("cannot set up the replay client: \(error)")
    }
  }

  /// Runs the whole plan in the calling thread's namespace.
  ///
  /// - Parameter progress: called every second.
  public func run(progress: (ReplayReport) -> Void) -> ReplayReport {
    let start = MonotonicTime.now()
    var nextLook = start &+ 1_000_000_000
    while true {
      while sessions.count < plan.concurrency, nextConnection < plan.connections.count { openNext() }
      if sessions.isEmpty { break }
      let count = epoll.wait(until: min(nextLook, MonotonicTime.now() &+ 100_000_000))
      for index in 0..<count {
        let token = epoll.ready(index).token
        if let session = sessions[token] { advance(session, token) }
      }
      let now = MonotonicTime.now()
      expire(now)
      if now >= nextLook {
        nextLook = now &+ 1_000_000_000
        report.seconds = Double(now &- start) / 1e9
        progress(report)
      }
    }
    report.seconds = Double(MonotonicTime.now() &- start) / 1e9
    return report
  }

  private func openNext() {
    let number = nextConnection
    nextConnection += 1
    let endpoint = endpoints[number % endpoints.count]
    let usable = sources.filter { $0.isIPv4 == endpoint.address.isIPv4 }
    let source = usable[(number / endpoints.count) % usable.count]
    open(plan.connections[number][...], from: source, to: endpoint)
  }

  private func open(_ pages: ArraySlice<Int>, from source: IPAddress, to endpoint: Endpoint) {
    do {
      let session = try ReplaySession(
        pages: pages, site: plan.site, from: source, to: endpoint, now: MonotonicTime.now())
      let token = nextToken
      nextToken += 1
      try epoll.add(session.socket.raw, [.read, .write, .edgeTriggered], token: token)
      sessions[token] = session
      report.connections += 1
    } catch {
      report.requests += pages.count
      report.fail(.connectRefused, "\(source) to \(endpoint): \(error)")
      report.fail(.notSent, "\(endpoint)", count: pages.count - 1)
    }
  }

  /// Does all that the socket allows now.
  private func advance(_ session: ReplaySession, _ token: UInt64) {
    do {
      while true {
        switch session.state {
        case .connecting(let since):
          if let error = session.socket.pendingError() { throw error }
          guard isConnected(session) else { return }
          let now = MonotonicTime.now()
          report.connectTime.add(nanoseconds: now &- since)
          session.ask(plan.site, now: now)
        case .asking(let sent, let since):
          let request = session.request
          let count = try session.socket.write(request.span.extracting(sent..<request.count))
          if sent + count < request.count {
            session.state = .asking(sent: sent + count, since: since)
            return
          }
          session.state = .reading(since: since, hasFirstByte: false)
        case .reading(let since, let hasFirstByte):
          guard try read(session, token, since: since, hasFirstByte: hasFirstByte) else { return }
        }
      }
    } catch {
      if case .connecting = session.state {
        end(session, token, .connectRefused, "\(error)")
      } else {
        end(session, token, .connectionReset, "\(error)")
      }
    }
  }

  /// Whether a three-way handshake has been completed: the peer has a name.
  private func isConnected(_ session: ReplaySession) -> Bool {
    var entry = pollfd(fd: session.socket.raw, events: Int16(POLLOUT), revents: 0)
    return unsafe poll(&entry, 1, 0) == 1
  }

  /// Reads once; false when there is nothing more to do on this connection for now.
  private func read(
    _ session: ReplaySession, _ token: UInt64, since: UInt64, hasFirstByte: Bool
  ) throws(SystemError) -> Bool {
    let count: Int
    switch try session.socket.read(into: &buffer) {
    case .wouldBlock: return false
    case .endOfStream:
      end(session, token, .closedEarly, "after \(session.reader.received) bytes of the body")
      return false
    case .bytes(let bytes): count = bytes
    }
    if !hasFirstByte {
      report.firstByteTime.add(nanoseconds: MonotonicTime.now() &- since)
      session.state = .reading(since: since, hasFirstByte: true)
    }
    do {
      guard case .complete(let closes) = try session.reader.take(buffer, count) else { return true }
      return finishRequest(session, token, since: since, closes: closes)
    } catch {
      switch error {
      case .status(let status): end(session, token, .badStatus, "status \(status)")
      case .head(let text): end(session, token, .badHead, text)
      case .length(let length): end(session, token, .badLength, "\(length) bytes")
      case .content(let offset): end(session, token, .badContent, "first wrong byte at \(offset)")
      }
      return false
    }
  }

  private func finishRequest(
    _ session: ReplaySession, _ token: UInt64, since: UInt64, closes: Bool
  ) -> Bool {
    let now = MonotonicTime.now()
    report.requests += 1
    report.bytes += session.reader.received
    report.requestTime.add(nanoseconds: now &- since)
    session.pages = session.pages.dropFirst()
    if session.pages.isEmpty {
      sessions[token] = nil
      return false
    }
    if closes {
      sessions[token] = nil
      report.reconnects += 1
      open(session.pages, from: session.source, to: session.endpoint)
      return false
    }
    session.ask(plan.site, now: now)
    return true
  }

  private func end(
    _ session: ReplaySession, _ token: UInt64, _ failure: ReplayReport.Failure, _ text: String
  ) {
    let page = plan.site.pages[session.pages[session.pages.startIndex]]
    let local = (try? session.socket.localEndpoint()).map { "\($0)" } ?? "\(session.source)"
    report.requests += session.pages.count
    report.fail(failure, "\(local) to \(session.endpoint), \(page.path) of \(page.size) bytes: \(text)")
    report.fail(.notSent, "on the same connection", count: session.pages.count - 1)
    sessions[token] = nil
  }

  private func expire(_ now: UInt64) {
    let limit = UInt64(plan.timeout * 1e9)
    for (token, session) in sessions where now > session.since &+ limit {
      if case .connecting = session.state {
        end(session, token, .connectTimeout, "no connection after \(plan.timeout) s")
      } else {
        end(session, token, .timeout, "\(session.reader.received) bytes after \(plan.timeout) s")
      }
    }
  }
}
