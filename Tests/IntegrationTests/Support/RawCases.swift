// SPDX-License-Identifier: Apache-2.0

import Lab
import Testing
import Wire

extension RawCase {
  /// What is in the bytes of the stream.
  static let streams: [RawCase] = [
    RawCase("garbage", connection: "answered400") { peer in
      try peer.connect()
      try peer.send("\u{1}\u{2}xyzzy \u{7f}\r\n\r\n")
      try peer.expectRefusal(400)
    },
    RawCase("a TLS client", connection: "answered400") { peer in
      try peer.connect()
      try peer.send([0x16, 0x03, 0x01, 0x00, 0xf8, 0x01, 0x00, 0x00, 0xf4, 0x03, 0x03])
      try peer.expectRefusal(400)
    },
    RawCase("every byte value", connection: "answered400") { peer in
      try peer.connect()
      try peer.send((0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 131) })
      try peer.expectRefusal(400)
    },
    RawCase("an endless head", connection: "answered431") { peer in
      try peer.connect()
      try peer.send("GET / HTTP/1.1\r\nHost: lab\r\nX-Endless: " + String(repeating: "a", count: 17_000))
      try peer.expectRefusal(431)
    },
    RawCase("an endless target", connection: "answered414") { peer in
      try peer.connect()
      try peer.send("GET /" + String(repeating: "a", count: 9_000))
      try peer.expectRefusal(414)
    },
    RawCase("another HTTP", connection: "answered505") { peer in
      try peer.connect()
      try peer.send("GET / HTTP/3.0\r\nHost: lab\r\n\r\n")
      try peer.expectRefusal(505)
    },
    RawCase("one byte in each segment", packets: ["data_in_order"], connection: "handed_off", isProper: true) { peer in
      try peer.connect()
      try peer.send(Request.small, size: 1)
      try peer.expectSmallPage()
    },
    RawCase("a head that stops", connection: "answered408") { peer in
      try peer.connect()
      try peer.send(Array(Request.smallBytes.dropLast(3)), size: 1)
      try peer.expectRefusal(408)
    },
    RawCase("silence after the handshake", connection: "idle") { peer in
      try peer.connect()
      try peer.wait("end") { peer.isFinished }
      #expect(peer.received == [] && !peer.isReset)
      try peer.close()
    },
    RawCase("a second request before the first is answered", connection: "handed_off", isProper: true) { peer in
      try peer.connect()
      try peer.send(Request.get(TestSite.small, close: false))
      try peer.send(Request.small)
      #expect(try peer.answers(2) == [Request.smallAnswer, Request.smallAnswer])
      try peer.close()
      #expect(!peer.isReset)
    },
  ]

  /// RST and FIN in every phase.
  static let endings: [RawCase] = [
    RawCase("RST before the handshake is complete", packets: ["reset_accepted"], handshake: "reset") { peer in
      try peer.open()
      try peer.awaitSynAck()
      try peer.reset()
    },
    RawCase("RST after the handshake", packets: ["reset_accepted"], connection: "client_reset") { peer in
      try peer.connect()
      try peer.reset()
    },
    RawCase("RST within the head", packets: ["reset_accepted"], connection: "client_reset") { peer in
      try peer.connect()
      try peer.send("GET / HT")
      try peer.waitForSegment()
      try peer.reset()
    },
    RawCase("RST right after the request") { peer in
      try peer.connect()
      try peer.send(Request.small)
      try peer.reset()
    },
    RawCase("RST within the answer", connection: "handed_off") { peer in
      try peer.connect()
      try peer.send(Request.get(TestSite.medium))
      try peer.wait("part of the answer") { peer.received.count > 5_000 }
      try peer.reset()
    },
    RawCase("RST instead of the last ACK", packets: ["reset_accepted"], connection: "answered400") { peer in
      try peer.connect()
      try peer.send("\r\nbad\r\n\r\n")
      #expect(try peer.answers().map(\.status) == [400])
      try peer.reset()
    },
    RawCase("FIN completes the handshake", packets: ["handshake_completed"], connection: "client_closed") { peer in
      try peer.open()
      try peer.awaitSynAck()
      try peer.finish()
      try peer.wait("end") { peer.isFinished }
      try peer.emit(.ack)
    },
    RawCase("FIN after the handshake", packets: ["fin"], connection: "client_closed") { peer in
      try peer.connect()
      try peer.close()
      #expect(!peer.isReset)
    },
    RawCase("FIN within the head", connection: "client_closed") { peer in
      try peer.connect()
      try peer.send("GET / HT")
      try peer.close()
      #expect(peer.received == [] && !peer.isReset)
    },
    RawCase("FIN with the request", connection: "handed_off") { peer in
      try peer.connect()
      try peer.finish(Request.smallBytes)
      #expect(try peer.answers() == [Request.smallAnswer])
      try peer.wait("end") { peer.isFinished }
    },
    RawCase("FIN right after the request", connection: "handed_off") { peer in
      try peer.connect()
      try peer.send(Request.small)
      try peer.finish()
      #expect(try peer.answers() == [Request.smallAnswer])
      try peer.wait("end") { peer.isFinished }
    },
    // What the server does then is its own affair: nginx stops sending.
    RawCase("FIN within the answer", connection: "handed_off", isProper: true) { peer in
      try peer.connect()
      try peer.send(Request.get(TestSite.medium))
      try peer.wait("part of the answer") { peer.received.count > 5_000 }
      try peer.finish()
      try peer.wait("end", within: 20) { peer.isFinished || peer.isReset }
    },
  ]
}
