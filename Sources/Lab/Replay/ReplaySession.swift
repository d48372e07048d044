// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Wire

/// One connection of the replay client.
final class ReplaySession {
  enum State {
    case connecting(since: UInt64)
    case asking(sent: Int, since: UInt64)
    case reading(since: UInt64, hasFirstByte: Bool)
  }

  let socket: StreamSocket
  let endpoint: Endpoint
  let source: IPAddress
  /// Page numbers that remain, the current one first.
  var pages: ArraySlice<Int>
  var state: State
  var request: [UInt8] = []
  var reader: AnswerReader

  init(
    pages: ArraySlice<Int>, site: Site, from source: IPAddress, to endpoint: Endpoint, now: UInt64
  ) throws(SystemError) {
    self.pages = pages
    self.endpoint = endpoint
    self.source = source
    let page = site.pages[pages[pages.startIndex]]
    reader = AnswerReader(content: site.content(of: page), size: page.size)
    state = .connecting(since: now)
    socket = try StreamSocket(familyOf: endpoint.address)
    // IP_BIND_ADDRESS_NO_PORT: the port is chosen at connect, so that the same one can be used for several peers.
    try socket.set(0, 24, 1)
    try socket.bind(to: Endpoint(source, 0))
    try socket.connect(to: endpoint)
  }

  /// When the present step began.
  var since: UInt64 {
    switch state {
    case .connecting(let since), .asking(_, let since), .reading(let since, _): since
    }
  }

  /// Makes the current page's request ready to be sent.
  func ask(_ site: Site, now: UInt64) {
    let page = site.pages[pages[pages.startIndex]]
    let last = pages.count == 1 ? "Connection: close\r\n" : ""
    request = Array("GET \(page.path) HTTP/1.1\r\nHost: lab\r\nUser-Agent: lab-replay\r\n\(last)\r\n".utf8)
    reader = AnswerReader(content: site.content(of: page), size: page.size)
    state = .asking(sent: 0, since: now)
  }
}
