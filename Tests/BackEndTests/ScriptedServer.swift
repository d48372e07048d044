// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Synchronization
import Wire

/// A server whose every move the test decides: one thread for each connection.
final class ScriptedServer: Sendable {
  private let acceptor: Worker
  private let state: State

  private final class State: Sendable {
    let stops = Atomic<Bool>(false)
    let workers = Mutex<[Worker]>([])
    let peers = Mutex<[Endpoint]>([])
  }

  /// - Parameters:
  ///   - isOpen: nothing is accepted while it is false.
  ///   - script: runs once the connection's first byte is there; health checks send none and are left out.
  init(
    _ network: TestNetwork, isIPv4: Bool = true, backlog: Int32 = 1024,
    whenOpen isOpen: @escaping @Sendable () -> Bool = { true },
    _ script: @escaping @Sendable (TestSocket) throws -> Void
  ) throws {
    let state = State()
    self.state = state
    let address = isIPv4 ? IPAddress(ipv4: 0x7f00_0001) : IPAddress(high: 0, low: 1)
    let listener = Handover(
      try network.node.perform {
        try StreamSocket.listen(at: Endpoint(address, AgentBench.serverPort), backlog: backlog)
      })
    acceptor = Worker {
      let listener = listener.take()
      while !state.stops.load(ordering: .acquiring) {
        _ = eventually(within: 0.002) { false }
        if !isOpen() { continue }
        while let accepted = try listener.accept() {
          let peer = accepted.peer
          let connection = TestSocket(accepted.take())
          let worker = Worker {
            guard (try? connection.waitForFirstByte()) == true else { return }
            state.peers.withLock { $0.append(peer) }
            try script(connection)
          }
          state.workers.withLock { $0.append(worker) }
        }
      }
    }
  }

  /// The peers that sent something, as accept showed them.
  var peers: [Endpoint] { state.peers.withLock { $0 } }

  deinit {
    state.stops.store(true, ordering: .releasing)
    try? acceptor.join()
    for worker in state.workers.withLock({ $0 }) { try? worker.join() }
  }
}

extension TestSocket {
  /// True when bytes came, false when the connection ended without any.
  func waitForFirstByte() throws -> Bool {
    try wait(for: 1, "first byte")
    var byte: UInt8 = 0
    return unsafe recvPeek(socket.raw, &byte) == 1
  }

  /// Reads up to and including the empty line after a request's head.
  func receiveHead() throws -> String {
    var head: [UInt8] = []
    while !head.suffix(4).elementsEqual([13, 10, 13, 10]) {
      let byte = try receive(1)
      if byte.isEmpty { break }
      head += byte
    }
    return String(decoding: head, as: UTF8.self)
  }
}
