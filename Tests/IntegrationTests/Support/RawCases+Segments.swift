// SPDX-License-Identifier: Apache-2.0

import Lab
import Testing
import Wire

extension RawCase {
  /// Segments that no right client sends. The connection, if there is one, must come through unharmed.
  static let segments: [RawCase] = [
    RawCase("data on SYN", packets: ["syn_accepted"], connection: "handed_off", isProper: true) { peer in
      try peer.open(data: Request.smallBytes)
      try peer.awaitSynAck()
      try peer.emit(.ack)
      try peer.askProperly()
    },
    RawCase("a wrong checksum", packets: ["bad_tcp_checksum"], connection: "handed_off", isProper: true) { peer in
      try peer.connect()
      try peer.emit([.ack, .psh], Request.smallBytes) { $0.breaksChecksum = true }
      try peer.askProperly()
    },
    RawCase("an option longer than the header", packets: ["bad_tcp_options"], connection: "handed_off") { peer in
      try peer.connect()
      try peer.emit([.ack, .psh], Request.smallBytes) { $0.options = [8, 40, 0, 0] }
      try peer.askProperly()
    },
    RawCase("an option of length zero", packets: ["bad_tcp_options"], connection: "handed_off") { peer in
      try peer.connect()
      try peer.emit([.ack, .psh], Request.smallBytes) { $0.options = [2, 0, 0, 0] }
      try peer.askProperly()
    },
    RawCase("a data offset past the end", packets: ["bad_tcp_header"], connection: "handed_off", isProper: true) {
      peer in
      try peer.connect()
      try peer.emit(.ack) { $0.dataOffset = 0xf0 }
      try peer.askProperly()
    },
    RawCase("overlapping segments", connection: "handed_off", isProper: true) { peer in
      let bytes = Request.smallBytes
      try peer.connect()
      // A later part, parts that overlap it on both sides, then what was missing.
      try peer.emit(.ack, Array(bytes[20..<30])) { $0.sequence = 20 }
      try peer.emit(.ack, Array(bytes[15..<25])) { $0.sequence = 15 }
      try peer.emit(.ack, Array(bytes[25..<40])) { $0.sequence = 25 }
      try peer.emit(.ack, Array(bytes[5..<18])) { $0.sequence = 5 }
      try peer.send(bytes)
      try peer.expectSmallPage()
    },
    RawCase("overlap that says something else", packets: ["data_out_of_order"], connection: "handed_off") { peer in
      let bytes = Request.smallBytes
      try peer.connect()
      try peer.emit(.ack, Array(bytes[10...])) { $0.sequence = 10 }
      // The first bytes that came stay.
      try peer.send(Array(bytes[..<10]) + Array(repeating: 0x58, count: bytes.count - 10))
      try peer.expectSmallPage()
    },
    RawCase("more holes than are kept", packets: ["data_too_fragmented"], connection: "handed_off", isProper: true) {
      peer in
      let bytes = Request.smallBytes
      try peer.connect()
      for index in 1..<10 { try peer.emit(.ack, [bytes[index * 3]]) { $0.sequence = index * 3 } }
      try peer.askProperly()
    },
    RawCase("data beyond the window", packets: ["out_of_window"], connection: "handed_off", isProper: true) { peer in
      try peer.connect()
      try peer.emit([.ack, .psh], Request.smallBytes) { $0.sequence = 5_000_000 }
      try peer.waitForSegment()
      try peer.askProperly()
    },
    RawCase("old data", packets: ["data_duplicate"], connection: "handed_off", isProper: true) { peer in
      try peer.connect()
      try peer.send(Array(Request.smallBytes[..<10]))
      try peer.emit(.ack, Array(Request.smallBytes[..<10])) { $0.sequence = -10 }
      try peer.send(Array(Request.smallBytes[10...]))
      try peer.expectSmallPage()
    },
    RawCase("SYN within a connection", packets: ["syn_challenged"], connection: "handed_off", isProper: true) { peer in
      try peer.connect()
      try peer.emit(.syn) { $0.sequence = 77 }
      try peer.askProperly()
    },
    RawCase("a reset that is not exact", packets: ["reset_challenged"], connection: "handed_off", isProper: true) {
      peer in
      try peer.connect()
      try peer.emit(.rst) { $0.sequence = 100 }
      try peer.waitForSegment()
      try peer.askProperly()
    },
    RawCase("a reset beyond the window", packets: ["reset_ignored"], connection: "handed_off", isProper: true) { peer in
      try peer.connect()
      try peer.emit(.rst) { $0.sequence = 50_000_000 }
      try peer.askProperly()
    },
    RawCase(
      "an ACK of what was never sent", packets: ["acknowledgment_invalid"], connection: "handed_off", isProper: true
    ) { peer in
      try peer.connect()
      try peer.emit(.ack, Request.smallBytes) { $0.acknowledgment = 10_000 }
      try peer.askProperly()
    },
    RawCase("no ACK", packets: ["acknowledgment_missing"], connection: "handed_off", isProper: true) { peer in
      try peer.connect()
      try peer.emit(.psh, Request.smallBytes)
      try peer.askProperly()
    },
    RawCase("no timestamps", packets: ["timestamp_missing"], connection: "handed_off") { peer in
      peer.options.timestamps = TCPTimestamps(value: 1, echo: 0)
      try peer.connect()
      try peer.emit([.ack, .psh], Request.smallBytes) { $0.clock = nil }
      try peer.askProperly()
    },
    RawCase("a timestamp of the past", packets: ["timestamp_old"], connection: "handed_off", isProper: true) { peer in
      peer.options.timestamps = TCPTimestamps(value: 1, echo: 0)
      try peer.connect()
      try peer.emit([.ack, .psh], Request.smallBytes) { $0.clock = -500_000 }
      try peer.askProperly()
    },
    RawCase("a repeated SYN", packets: ["syn_repeated"], connection: "handed_off", isProper: true) { peer in
      try peer.open()
      try peer.open()
      try peer.awaitSynAck()
      try peer.emit(.ack)
      try peer.askProperly()
    },
    RawCase("a handshake that acknowledges too much", packets: ["handshake_refused"], connection: "handed_off") {
      peer in
      try peer.open()
      try peer.awaitSynAck()
      try peer.emit(.ack) { $0.acknowledgment = 1_000 }
      try peer.wait("reset") { peer.isReset }
      try peer.emit(.ack)
      try peer.send(Request.small)
      try peer.wait("answer") { RawAnswer.all(in: peer.received) == [Request.smallAnswer] }
      try peer.close()
    },
    RawCase("SYN with FIN", packets: ["implausible"]) { peer in try peer.emit([.syn, .fin]) },
    RawCase("port 0", packets: ["implausible"]) { peer in try peer.emit(.syn) { $0.sourcePort = 0 } },
    RawCase("a segment of no connection", packets: ["unknown_flow"], isProper: true) { peer in
      try peer.emit(.ack, Request.smallBytes)
      try peer.wait("reset") { peer.isReset }
    },
  ]
}
