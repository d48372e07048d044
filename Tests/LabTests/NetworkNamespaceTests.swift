// SPDX-License-Identifier: Apache-2.0

import Glibc
import Lab
import LinuxKernel
import Testing
import Wire

@Suite(.serialized)
struct NetworkNamespaceTests {
  private func withNamespace(_ body: (NetworkNamespace) throws -> Void) throws {
    let namespace = try NetworkNamespace.create("ho-test-\(getpid())-\(MonotonicTime.now() % 1_000_000)")
    defer { try? namespace.remove() }
    try body(namespace)
  }

  @Test func aCommandRunsInside() throws {
    try withNamespace { namespace in
      let result = try namespace.run(["ip", "-br", "link"])
      #expect(result.isSuccess)
      #expect(result.output.contains("lo "))
      #expect(!result.output.contains("eth0"), "only loopback exists in a fresh namespace: \(result.output)")
      let failed = try namespace.run(["sh", "-c", "cat; echo told >&2; exit 3"], input: Array("given".utf8))
      #expect(failed.status == .exited(3))
      #expect(failed.output == "given")
      #expect(failed.errorOutput == "told\n")
    }
  }

  @Test func socketsMadeInsideStayInside() throws {
    try withNamespace { namespace in
      let loopback = try #require(IPAddress("127.0.0.1"))
      let listener = try namespace.perform { try StreamSocket.listen(at: Endpoint(loopback, 0)) }
      let endpoint = try listener.localEndpoint()
      let inside = try namespace.perform {
        let socket = try StreamSocket(familyOf: loopback)
        try socket.connect(to: endpoint)
        return socket
      }
      #expect(try listener.accept() != nil)
      #expect(inside.pendingError() == nil)
      let outside = try StreamSocket(familyOf: loopback)
      #expect(throws: SystemError.self) {
        try outside.connect(to: endpoint)
        var entry = pollfd(fd: outside.raw, events: Int16(POLLOUT), revents: 0)
        _ = unsafe poll(&entry, 1, 1000)
        if let error = outside.pendingError() { throw error }
      }
    }
  }

  @Test func aThrownErrorComesOut() throws {
    try withNamespace { namespace in
      #expect(throws: LabError("mine")) { try namespace.perform { throw LabError("mine") } }
    }
  }

  @Test func aNamespaceThatIsNotThereIsNamed() {
    let error = #expect(throws: LabError.self) { try NetworkNamespace(existing: "ho-none").run(["true"]) }
    #expect(error?.description.contains("/run/netns/ho-none") == true, "\(String(describing: error))")
  }

  @Test func aLongRunningProgramEndsWhenTold() throws {
    try withNamespace { namespace in
      let log = "/tmp/ho-test-\(getpid()).log"
      defer { _ = unsafe unlink(log) }
      let process = try namespace.start(name: "sleeper", ["sh", "-c", "echo up; exec sleep 1000"], logFile: log)
      #expect(process.isRunning)
      #expect(process.wait(seconds: 0.01) == nil)
      let pids = try namespace.run(["ip", "netns", "pids", namespace.name]).output
      #expect(pids.split(separator: "\n").contains("\(process.pid)"))
      #expect(process.terminate() == .killed(signal: SIGTERM))
      #expect(!process.isRunning)

    }
  }
}
