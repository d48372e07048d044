// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Testing
import Wire

extension RawCase {
  /// What is different when the kernel answers handshakes: nobody knows of a client before its first data.
  static let kernelHandshakes: [RawCase] = [
    RawCase("silence after the handshake", packets: ["cookie_accepted"], connection: "handed_off") { peer in
      try peer.connect()
      let segments = peer.segments
      // Longer than the head timeout, which begins with the request.
      let end = MonotonicTime.now() + 2_000_000_000
      try peer.wait("time", within: 4) { MonotonicTime.now() > end || peer.segments > segments }
      #expect(peer.segments == segments)
      try peer.askProperly()
    },
    RawCase("RST before the handshake is complete", packets: ["unknown_flow"], kernel: ["syn_answered"]) { peer in
      try peer.open()
      try peer.awaitSynAck()
      try peer.reset()
    },
    RawCase("RST after the handshake", packets: ["unknown_flow"], kernel: ["ack_absorbed"]) { peer in
      try peer.connect()
      try peer.reset()
    },
    RawCase("FIN completes the handshake", packets: ["cookie_accepted"], connection: "client_closed") { peer in
      try peer.open()
      try peer.awaitSynAck()
      try peer.close()
      #expect(!peer.isReset)
    },
    RawCase("FIN after the handshake", packets: ["cookie_accepted"], connection: "client_closed") { peer in
      try peer.connect()
      try peer.close()
      #expect(!peer.isReset)
    },
    RawCase("data on SYN", connection: "handed_off", kernel: ["syn_answered"]) { peer in
      try peer.open(data: Request.smallBytes)
      try peer.awaitSynAck()
      try peer.emit(.ack)
      try peer.askProperly()
    },
    RawCase("a data offset past the end", connection: "handed_off", kernel: ["malformed"]) { peer in
      try peer.connect()
      try peer.emit(.ack) { $0.dataOffset = 0xf0 }
      try peer.askProperly()
    },
    RawCase("a repeated SYN", connection: "handed_off", kernel: ["syn_answered"]) { peer in
      try peer.open()
      try peer.open()
      try peer.awaitSynAck()
      try peer.emit(.ack)
      try peer.askProperly()
    },
    RawCase("SYN within a connection", connection: "handed_off", kernel: ["syn_answered"]) { peer in
      try peer.connect()
      try peer.emit(.syn) { $0.sequence = 77 }
      try peer.waitForSegment()
      try peer.askProperly()
    },
    RawCase("SYN within a request", packets: ["data_in_order"], connection: "handed_off") { peer in
      try peer.connect()
      try peer.send("GET ")
      try peer.emit(.syn) { $0.sequence = 77 }
      try peer.send(Array(Request.smallBytes.dropFirst(4)))
      try peer.expectSmallPage()
    },
    RawCase("a handshake that acknowledges too much", packets: ["unknown_flow"], connection: "handed_off") { peer in
      try peer.open()
      try peer.awaitSynAck()
      try peer.emit(.ack) { $0.acknowledgment = 1_000 }
      try peer.emit(.ack)
      try peer.askProperly()
    },
    RawCase("the second segment first", packets: ["unknown_flow", "cookie_accepted"], connection: "handed_off") {
      peer in
      let bytes = Request.smallBytes
      try peer.connect()
      try peer.emit(.ack, Array(bytes[10...])) { $0.sequence = 10 }
      // No reset: what is missing may come, and what came too early comes again.
      try peer.askProperly()
    },
    RawCase("a wrong checksum", packets: ["bad_tcp_checksum"], connection: "handed_off") { peer in
      try peer.connect()
      try peer.emit([.ack, .psh], Request.smallBytes) { $0.breaksChecksum = true }
      try peer.askProperly()
    },
    RawCase("SYN with FIN", kernel: ["syn_malformed"]) { peer in try peer.emit([.syn, .fin]) },
    RawCase("port 0", kernel: ["syn_malformed"]) { peer in try peer.emit(.syn) { $0.sourcePort = 0 } },
    RawCase("a SYN with a wrong checksum", kernel: ["syn_malformed"]) { peer in
      try peer.emit(.syn) { $0.breaksChecksum = true }
    },
    RawCase("a segment of no connection", packets: ["unknown_flow"]) { peer in
      // Not before its beginning has had the time to come.
      let patient = MonotonicTime.now() + 900_000_000
      while !peer.isReset {
        try peer.emit(.ack, Request.smallBytes)
        let next = MonotonicTime.now() + 300_000_000
        try peer.wait("time", within: 4) { peer.isReset || MonotonicTime.now() > next }
      }
      #expect(MonotonicTime.now() > patient)
    },
  ]
}
