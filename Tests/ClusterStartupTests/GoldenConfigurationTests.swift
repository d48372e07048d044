// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import LinuxKernel
import Telemetry
import Testing
import Wire

@testable import ClusterStartup

/// Each `Golden/NAME.yaml`, with the options of its first line and on one host that never changes, must give the text of
/// `Golden/NAME.txt`: what would start, or what is wrong. `GOLDEN_UPDATE=1` in the environment writes the texts anew.
@Suite struct GoldenConfigurationTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "Golden")

  static let names: [String] = {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    return files.filter { $0.hasSuffix(".yaml") }.map { String($0.dropLast(5)) }.sorted()
  }()

  static let host = HostView(
    hostName: "host2",
    interfaces: [
      HostInterface(name: "lo", isLoopback: true, addresses: [IPAddress("127.0.0.1")!, IPAddress("::1")!]),
      HostInterface(
        name: "eth0",
        addresses: ["10.0.0.2", "192.0.2.10", "192.0.2.11", "fe80::1", "2001:db8::10"].map { IPAddress($0)! }),
      HostInterface(name: "eth1", addresses: []),
      HostInterface(name: "eth2", isUp: false, addresses: []),
    ], processors: 4)

  @Test func filesAreFound() { #expect(Self.names.count >= 15) }

  @Test(arguments: names)
  func configurationGivesItsText(name: String) throws {
    let source = try String(contentsOf: Self.folder.appending(path: "\(name).yaml"), encoding: .utf8)
    let output = Self.folder.appending(path: "\(name).txt")
    let text = Self.result(of: source, path: "\(name).yaml")
    if ProcessInfo.processInfo.environment["GOLDEN_UPDATE"] == "1" {
      try text.write(to: output, atomically: true, encoding: .utf8)
    }
    #expect(text == (try String(contentsOf: output, encoding: .utf8)))
  }

  private static func result(of source: String, path: String) -> String {
    let mark = "# options: "
    let first = source.prefix { $0 != "\n" }
    let arguments = first.hasPrefix(mark) ? first.dropFirst(mark.count).split(separator: " ").map(String.init) : []
    do {
      let options = try StartupCommand.parse(arguments).options
      let file = try SettingsFile.parse(source, path: path)
      let configuration = try NodeConfiguration(checking: file.overridden(by: options.values))
      let location: DispatcherLocation =
        switch configuration.dispatcher {
        case .here: .here
        case .elsewhere(let name):
          .elsewhere(
            IPAddress(name) ?? IPAddress("10.0.0.9")!,
            source: configuration.internalAddress ?? IPAddress("10.0.0.2")!)
        }
      return try NodePlan(configuration, host: host, dispatcher: location).text
    } catch {
      return "\(error)\n"
    }
  }
}
