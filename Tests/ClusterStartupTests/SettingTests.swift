// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DispatcherCore
import Foundation
import Testing
import Wire

@testable import ClusterStartup

@Suite struct SettingTests {
  /// The flags of the original program, exactly.
  @Test func originalCommandLines() throws {
    let first = try StartupCommand.parse(["-D"]).options
    #expect(first.dispatcherRole && !first.distributorRole && !first.backEndRole)
    let second = try StartupCommand.parse(
      ["-FE", "-fp", "8080", "-BE", "-bp", "7080", "-da", "host1-ifc2.cs.rice.edu"]
    ).options
    let configuration = try NodeConfiguration(checking: second.values)
    #expect(configuration.roles == [.backEnd, .distributor])
    #expect(configuration.distributor?.port == 8080)
    #expect(configuration.backEnd?.serverPort == 7080)
    #expect(configuration.dispatcher == .elsewhere(host: "host1-ifc2.cs.rice.edu"))
  }

  /// An option for each setting, and its value arrives there.
  @Test(arguments: Setting.allCases.filter { $0 != .roles })
  func everySettingHasItsLongOption(setting: Setting) throws {
    let values = try StartupCommand.parse(["--\(setting.rawValue)", "text"]).options.values
    #expect(values[setting] == [.init(text: "text", source: .option(setting.option))])
    #expect(StartupCommand.helpMessage().contains("--\(setting.rawValue) <"))
  }

  /// docs/operations.md has a line for each setting, with option and key.
  @Test func everySettingIsDocumented() throws {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "../../docs/operations.md")
    let lines = try String(contentsOf: path.standardized, encoding: .utf8).split(separator: "\n")
    for setting in Setting.allCases where setting != .roles {
      #expect(
        lines.contains { $0.hasPrefix("| ") && $0.contains("`--\(setting.rawValue)` | `\(setting.rawValue)` |") },
        "\(setting)")
    }
    for role in NodeRole.allCases {
      #expect(lines.contains { $0.hasPrefix("| `\(role.flag)` | `roles: [\(role.rawValue)]` |") }, "\(role)")
    }
  }

  @Test func optionsReplaceTheFile() throws {
    let file = try SettingsFile.parse("serve: [192.0.2.1, 192.0.2.2]\npolicy: wrr\nt-low: 5", path: "f")
    let options = try StartupCommand.parse(["-D", "-FE", "-fp", "80", "--serve", "192.0.2.3", "--policy", "lc"]).options
    let configuration = try NodeConfiguration(checking: file.overridden(by: options.values))
    #expect(configuration.distributor?.serve == [IPAddress("192.0.2.3")!])
    #expect(
      configuration.dispatcher
        == .here(
          DispatcherSettings(
            policy: .lc, tLow: 5, tHigh: 65, admission: .unlimited,
            leases: LeaseTerms(credits: 32, time: 60_000_000_000), rules: [])))
  }

  @Test(arguments: [
    ("t_low", "t-low"), ("tLow", "t-low"), ("polcy", "policy"), ("sevre", "serve"),
    ("max-conections", "max-connections"),
    ("loglevel", "log-level"), ("Weight", "weight"),
  ])
  func nearestIsSuggested(word: String, meant: String) {
    #expect(Suggestion.nearest(to: word, among: Setting.allCases.map(\.rawValue)) == meant)
  }

  @Test(arguments: ["colour", "x", "", "listen"])
  func farWordsGetNoSuggestion(word: String) {
    #expect(Suggestion.nearest(to: word, among: Setting.allCases.map(\.rawValue)) == nil)
  }

  @Test(arguments: [
    ("127.0.0.1:7010", Endpoint(IPAddress(ipv4: 0x7f00_0001), 7010)),
    ("[::1]:1", Endpoint(IPAddress(high: 0, low: 1), 1)),
    ("::1:80", nil), ("[127.0.0.1]:80", nil), ("127.0.0.1:", nil), ("127.0.0.1:0", nil), ("127.0.0.1:65536", nil),
    ("127.0.0.1:+5", nil), (":80", nil), ("", nil), ("host:80", nil),
  ])
  func endpoints(text: String, endpoint: Endpoint?) {
    #expect(Endpoint(text) == endpoint)
  }

  @Test(arguments: [
    ("host1", true), ("host1-ifc2.cs.rice.edu", true), ("192.0.2.1", true), ("2001:db8::1", true), ("a_b", true),
    ("-host", false), ("host-", false), ("a..b", false), ("", false), ("1.2.3", false), ("999.1.1.1", false),
    ("host name", false), (String(repeating: "a", count: 64), false),
  ])
  func hosts(text: String, isValid: Bool) {
    #expect((ValueParser<String>.host.parse(text) != nil) == isValid)
  }
}
