// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Testing
import Wire

@testable import ForwardingPlane

/// The egress program, which keeps resets of connections that have moved from their clients.
struct ServeSilenceTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var frame: Frame
    var isDropped: Bool
    var testDescription: String { name }
  }

  private static func both(_ family: String, _ flow: FlowTuple) -> [Case] {
    func outgoing(_ flags: TCPFlags, _ payload: [UInt8] = []) -> Frame {
      Frame.tcp(from: flow.service, to: flow.client, flags: flags, payload: payload)
    }
    var otherClient = flow.client
    otherClient.port += 1
    func rule(_ name: String, _ frame: Frame, isDropped: Bool = false) -> Case {
      Case(name: "\(family): \(name)", frame: frame, isDropped: isDropped)
    }
    return [
      rule("RST", outgoing(.rst), isDropped: true),
      rule("RST and ACK", outgoing([.rst, .ack]), isDropped: true),
      rule("RST with data", outgoing(.rst, [1]), isDropped: true),
      rule("padded RST", outgoing(.rst).padded(by: 6), isDropped: true),
      rule("ACK", outgoing(.ack)),
      rule("FIN", outgoing([.ack, .fin])),
      rule("data", outgoing(.ack, [1, 2])),
      rule("RST to another port of the client", Frame.tcp(from: flow.service, to: otherClient, flags: .rst)),
      rule("RST from the client", Frame.tcp(flow, .rst)),
      rule("RST with a wrong data offset", outgoing(.rst).with(0x40, at: outgoing(.rst).tcpStart + 12)),
      rule("RST of another protocol's packet", outgoing(.rst).with(0x08, 0x06, at: 12)),
    ]
  }

  @Test(arguments: both("IPv4", Addresses.flow4) + both("IPv6", Addresses.flow6))
  func rule(_ rule: Case) throws {
    let bench = try ServeBench()
    // Without an entry every reset passes.
    let without = try bench.runSilencer(rule.frame)
    #expect(without.run.verdict == .pass && without.silenced == 0)
    for flow in [Addresses.flow4, Addresses.flow6] { try bench.silence(flow) }
    let (run, silenced) = try bench.runSilencer(rule.frame)
    #expect(run.verdict == (rule.isDropped ? .drop : .pass))
    #expect(silenced == (rule.isDropped ? 1 : 0))
    #expect(run.frame == rule.frame)
  }

  /// The program is at work only while a connection is being ended, by either way, and nothing of it stays.
  @Test(arguments: TrafficAttachment.both) func itIsThereOnlyWhenNeeded(_ attachment: TrafficAttachment) throws {
    let interface = try TestInterface()
    let plane = try interface.namespace.perform {
      try ServePlane.attach(
        ServePlaneConfiguration(
          interface: "d0", serverPort: 8080, serverAddressIPv4: IPAddress("127.0.0.1")!,
          serverAddressIPv6: IPAddress("::1")!, loops: 1, attachment: attachment))
    }
    func isAtWork() throws -> Bool { try interface.trafficControl().contains("handoff_silence") }
    for _ in 0..<3 {
      #expect(try !isAtWork())
      let during = try interface.namespace.perform { () -> Bool in
        var found = false
        try plane.silently(Addresses.flow4) {
          found = (try? interface.trafficControl().contains("handoff_silence")) == true
        }
        return found
      }
      #expect(during)
    }
    #expect(try !isAtWork())
    try interface.namespace.perform { plane.detach() }
    #expect(try interface.trafficControl() == "")
  }
}
