// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import Lab
import Wire

/// `lab flood`
struct FloodCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flood",
    abstract: "Measure normal traffic beside a SYN flood, with the flood answered, merely dropped, and without it.",
    discussion: "The last line of the output is one JSON array of measurements.")

  @Option(help: "Rounds; each measures every kind once.")
  var rounds = 3

  @Option(help: "Seconds of each measurement.")
  var seconds = 3.0

  @Option(help: ArgumentHelp("Who answers handshakes at the distributor.", valueName: "auto|kernel|user"))
  var handshake = "auto"

  @Option(help: ArgumentHelp("How packets come to the distributor's workers.", valueName: "auto|ring|queue"))
  var packets = "auto"

  func run() throws {
    try LabRun.requireRoot()
    try Interruption.watch()
    var comparison = FloodComparison()
    comparison.rounds = max(1, rounds)
    comparison.seconds = seconds
    comparison.distributorOptions = ["--handshake", handshake, "--packets", packets]
    let rows = try comparison.run { Console.line($0) }
    Console.line(String(decoding: try JSONEncoder().encode(rows), as: UTF8.self))
  }
}

/// `lab syn-flood`: runs inside the attacker's namespace.
struct SynFloodCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "syn-flood", abstract: "Send SYNs from random sources as fast as one thread can.", shouldDisplay: false
  )

  @Option(help: "ADDRESS:PORT of IPv4.")
  var target: String

  @Option(help: "Ethernet address of the target's node.")
  var gateway: String

  @Option(help: "For how long.")
  var seconds: Double

  func run() throws {
    let parts = target.split(separator: ":")
    guard parts.count == 2, let address = IPAddress(String(parts[0])), let port = UInt16(parts[1]) else {
      throw ValidationError("\(target) is no ADDRESS:PORT")
    }
    let bytes = gateway.split(separator: ":").compactMap { UInt64($0, radix: 16) }
    guard bytes.count == 6 else { throw ValidationError("\(gateway) is no Ethernet address") }
    let flood = SynFlood(
      interface: "eth0", gateway: MACAddress(bits: bytes.reduce(0) { $0 << 8 | $1 }),
      target: Endpoint(address, port), seconds: seconds)
    let result = try flood.run()
    Console.line("\(result.sent) SYNs, per second: \(Int(Double(result.sent) / result.seconds))")
  }
}
