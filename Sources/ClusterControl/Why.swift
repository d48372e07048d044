// SPDX-License-Identifier: Apache-2.0

import AdminReports
import ArgumentParser
import LinuxKernel
import Wire

/// `clusterctl why URL`: where a request would go now, and why.
struct Why: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Tells where a request would go now, and why. Changes nothing.",
    discussion: "The dispatcher answers with the rules and the code that decide real requests.")

  @Argument(help: ArgumentHelp("http://HOST/PATH, or /PATH with --host.", valueName: "url"))
  var url: String

  @Option(help: ArgumentHelp("Value of the Host field.", valueName: "name"))
  var host: String?

  @Option(help: ArgumentHelp("The client's address (default: 127.0.0.1).", valueName: "address"))
  var client: String?

  @Option(help: ArgumentHelp("Value of the Cookie field, such as 'a=1; b=2'.", valueName: "cookies"))
  var cookie: String?

  @Option(help: ArgumentHelp("Request method.", valueName: "method"))
  var method = "GET"

  @Flag(help: "Print the dispatcher's answer as one JSON object.")
  var json = false

  @OptionGroup var query: DispatcherQuery

  func validate() throws {
    guard Why.parts(of: url) != nil else {
      throw ValidationError("'\(url)' is no URL. Give http://HOST/PATH, or /PATH with --host NAME.")
    }
    if let client, IPAddress(client) == nil {
      throw ValidationError("--client: '\(client)' is no address. Give one such as 192.0.2.1 or 2001:db8::1.")
    }
  }

  /// Host and path with query.
  static func parts(of url: String) -> (host: String?, target: String)? {
    if url.hasPrefix("/") { return (nil, url) }
    for scheme in ["http://", "https://"] where url.lowercased().hasPrefix(scheme) {
      let rest = url.dropFirst(scheme.count)
      let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
      if end == rest.startIndex { return nil }
      // A browser keeps the fragment to itself.
      let target = rest[end...].prefix { $0 != "#" }
      return (String(rest[..<end]), target.hasPrefix("/") ? String(target) : "/" + target)
    }
    return nil
  }

  func run() throws {
    guard let parts = Why.parts(of: url) else { return }
    var fields = [("target", parts.target), ("method", method)]
    if let host = host ?? parts.host { fields.append(("host", host)) }
    if let client { fields.append(("client", client)) }
    if let cookie { fields.append(("cookie", cookie)) }
    let (report, text) = try query.ask(fields, as: WhyReport.self)
    StandardStream.output.write(json ? text : Why.text(report))
  }

  static func text(_ report: WhyReport) -> String {
    var lines: [(String, String)] = []
    switch report.outcome {
    case "assigned":
      lines.append(("goes to", "\(report.node ?? "?"), because \(report.because) (\(report.reason ?? "?"))"))
    case "waits": lines.append(("waits", "because \(report.because)"))
    default: lines.append(("is refused", "because \(report.because)"))
    }
    let rule = report.rule.map { "\($0)" + (report.ruleName.map { " (\($0))" } ?? "") }
    lines.append(("rule", rule ?? "none"))
    lines.append(("pool", report.pool ?? "every node"))
    if let source = report.sticksBy { lines.append(("sticks by", source)) }
    lines.append(("target", "\(report.target), mapped to \(Why.list(report.replicas))"))
    lines.append(("policy", report.policy))
    lines.append(
      ("cluster", "\(report.connections) connections, limit \(report.admissionLimit.map { "\($0)" } ?? "none")"))
    var table = TextTable(["NODE", "STATE", "CONNECTIONS", "MAXIMUM", "WEIGHT", "LOAD", ""], numbers: [2, 3, 4, 5])
    for node in report.nodes {
      var remarks: [String] = []
      if node.name == report.node { remarks.append("<- chosen") }
      if report.replicas.contains(node.name) { remarks.append("has the target") }
      if let exclusion = node.excludedBecause { remarks.append("no candidate: \(exclusion)") }
      table.add([
        node.name, node.state, "\(node.connections)", node.maximumText, "\(node.weight)", node.loadText,
        remarks.joined(separator: ", "),
      ])
    }
    return lines.map { $0.padded(to: 12) + $1 + "\n" }.joined() + "\n" + table.text
  }

  static func list(_ names: [String]) -> String { names.isEmpty ? "no node" : names.joined(separator: ", ") }
}

extension String {
  func padded(to length: Int) -> String { self + String(repeating: " ", count: max(0, length - count)) }
}
