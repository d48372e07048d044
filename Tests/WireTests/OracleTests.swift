// SPDX-License-Identifier: Apache-2.0

import Testing
import Wire

/// Against scapy (Debian package python3-scapy) for packets and Python's ipaddress for text.
@Suite struct OracleTests {
  static let scapy = """
    import sys
    try:
        from scapy.layers.inet import IP, TCP, IPOption_NOP
        from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt
    except ImportError as error:
        sys.exit("scapy is missing (%s): apt-get install python3-scapy" % error)

    """

  /// One packet in; its fields as scapy reads them out, and whether scapy computes the same checksums.
  static let dissect =
    scapy + """
      for line in sys.stdin:
          data = bytes.fromhex(line.strip())
          packet = IP(data) if data[0] >> 4 == 4 else IPv6(data)
          tcp = packet[TCP]
          options = dict((name, value) for name, value in tcp.options if name not in ("NOP", "EOL"))
          fresh = packet.copy()
          del fresh[TCP].chksum
          if IP in fresh:
              del fresh[IP].chksum
              assert packet.id == 0 and packet.ttl == 64 and str(packet.flags) == "DF" and packet.tos == 0
              assert packet.len == len(data) and packet.ihl == 5
          else:
              assert packet.hlim == 64 and packet.tc == 0 and packet.fl == 0 and packet.plen == len(data) - 40
          stamps = options.pop("Timestamp", None)
          print(packet.src, tcp.sport, packet.dst, tcp.dport, tcp.seq, tcp.ack, int(tcp.flags), tcp.window, tcp.urgptr,
                options.pop("MSS", None), options.pop("WScale", None), options.pop("SAckOK", None) is not None,
                stamps and stamps[0], stamps and stamps[1], bytes(tcp.payload).hex() or "-", options == {},
                bytes(fresh) == data)
      """

  static func line(_ segment: TCPSegment, _ payload: [UInt8]) -> String {
    func text(_ value: (some CustomStringConvertible)?) -> String { value?.description ?? "None" }
    let options = segment.options
    return [
      "\(segment.source.address) \(segment.source.port) \(segment.destination.address) \(segment.destination.port)",
      "\(segment.sequence) \(segment.acknowledgment) \(segment.flags.rawValue) \(segment.window) 0",
      "\(text(options.maximumSegmentSize)) \(text(options.windowScale)) \(options.sackPermitted ? "True" : "False")",
      "\(text(options.timestamps?.value)) \(text(options.timestamps?.echo)) \(payload.isEmpty ? "-" : hex(payload))",
      "True True",
    ].joined(separator: " ")
  }

  @Test func `scapy reads what was emitted and computes the same checksums`() throws {
    var random = SeededGenerator(seed: 20)
    var packets: [String] = []
    var expected: [String] = []
    for isIPv4 in [true, false] {
      for choice in 0..<16 {
        for count in [0, 1, 5, 64, 1001] {
          let segment = random.segment(isIPv4: isIPv4, options: choice)
          let payload = random.bytes(count)
          packets.append(hex(packet(segment, payload)))
          expected.append(Self.line(segment, payload))
        }
      }
    }
    let answers = try PythonOracle.run(Self.dissect, packets)
    #expect(answers.count == expected.count)
    for (answer, expected) in zip(answers, expected) { #expect(answer == expected, "seed 20") }
  }

  /// One segment in, as numbers; the packet that scapy builds out, in layouts that this emitter never writes.
  static let build =
    scapy + """
      for number, line in enumerate(sys.stdin):
          src, sport, dst, dport, seq, ack, flags, window, mss, scale, sack, value, echo, payload = line.split()
          options = []
          if value != "None": options += [("Timestamp", (int(value), int(echo)))]
          if scale != "None": options += [("WScale", int(scale))]
          if sack == "True": options += [("SAckOK", b"")]
          if number % 2: options += [("NOP", None)]
          if mss != "None": options += [("MSS", int(mss))]
          tcp = TCP(sport=int(sport), dport=int(dport), seq=int(seq), ack=int(ack), flags=int(flags),
                    window=int(window), urgptr=number, options=options)
          if ":" in src:
              ip = IPv6(src=src, dst=dst, hlim=number % 256, tc=number % 256, fl=number)
              if number % 3 == 1: ip = ip / IPv6ExtHdrHopByHop()
              if number % 5 == 1: ip = ip / IPv6ExtHdrDestOpt()
          else:
              ip = IP(src=src, dst=dst, ttl=number % 256, tos=number % 256, id=number,
                      options=[IPOption_NOP()] * (number % 5))
          data = bytes() if payload == "-" else bytes.fromhex(payload)
          packet = ip / tcp
          print(bytes(packet / data if data else packet).hex())
      """

  @Test func `packets that scapy builds are read`() throws {
    var random = SeededGenerator(seed: 21)
    var lines: [String] = []
    var expected: [(TCPSegment, [UInt8])] = []
    for number in 0..<200 {
      let segment = random.segment(isIPv4: number % 2 == 0, options: number % 16)
      let payload = random.bytes(number % 40)
      let parts = Self.line(segment, payload).split(separator: " ")
      lines.append((parts[0..<8] + parts[9..<15]).joined(separator: " "))
      expected.append((segment, payload))
    }
    let answers = try PythonOracle.run(Self.build, lines)
    #expect(answers.count == expected.count)
    for (answer, expected) in zip(answers, expected) {
      let packet = bytes(hex: answer)
      let parsed = try parse(packet).get()
      #expect(parsed.segment == expected.0, "seed 21: \(answer)")
      #expect(Array(packet[parsed.payload]) == expected.1, "seed 21: \(answer)")
    }
  }

  /// Python writes `::ffff:c000:201` for what is IPv4 here, and takes zones.
  static let addresses = """
    import ipaddress, sys
    for line in sys.stdin:
        text = line.rstrip("\\n")
        try:
            address = ipaddress.ip_address(text)
            mapped = getattr(address, "ipv4_mapped", None)
            print("refused" if "%" in text else mapped or address.compressed)
        except ValueError:
            print("refused")
    """

  @Test func `address text is read and written as Python does`() throws {
    var random = SeededGenerator(seed: 22)
    var texts = IPAddressTextTests.canonical.map(\.0) + IPAddressTextTests.refused.filter { !$0.isEmpty }
    // Python takes decimal digits of every script in IPv4.
    texts.removeAll { text in !text.allSatisfy(\.isASCII) || text.contains(" ") || text.contains("/") }
    for round in 0..<3000 {
      // Zero groups are likely, so that runs of them are.
      var address = IPAddress(high: random.next(), low: random.next())
      for group in 0..<4 {
        if random.chance(60) { address.high &= ~(0xffff << (UInt64(group) * 16)) }
        if random.chance(60) { address.low &= ~(0xffff << (UInt64(group) * 16)) }
      }
      if round % 4 == 0 { address = random.address(isIPv4: true) }
      var text = address.description
      #expect(IPAddress(text) == address, "seed 22: \(text)")
      if round % 2 == 1 {
        let index = text.indices.randomElement(using: &random) ?? text.startIndex
        if random.chance(50) { text.remove(at: index) }
        let character = ":.0123456789abcfg".randomElement(using: &random) ?? ":"
        if random.chance(50), index < text.endIndex { text.insert(character, at: index) }
        if random.chance(20) { text += ".1" }
      }
      if !text.isEmpty { texts.append(text) }
    }
    let answers = try PythonOracle.run(Self.addresses, texts)
    #expect(answers.count == texts.count)
    for (text, answer) in zip(texts, answers) {
      #expect(IPAddress(text)?.description ?? "refused" == answer, "seed 22: \(text)")
    }
    #expect(answers.count { $0 == "refused" } > 200)
  }
}
