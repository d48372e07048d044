// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Lab

/// The growth measurement as a table, a plot and JSON; what is measured and what is modelled are told apart.
public struct GrowthReport {
  private let result: Growth.Result
  private static let modelled = [1, 2, 4, 8, 16, 32, 64]

  public init(_ result: Growth.Result) { self.result = result }

  /// Writes `growth.md`, `growth.json` and the plots into a folder, which is made.
  public func write(to folder: String) throws {
    try Command.run(["mkdir", "-p", folder]).checked()
    try Cluster.write(markdown, to: "\(folder)/growth.md")
    try Cluster.write(plot(upTo: 16).svg, to: "\(folder)/growth-16.svg")
    try Cluster.write(plot(upTo: 64).svg, to: "\(folder)/growth-64.svg")
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    try Cluster.write(String(decoding: try encoder.encode(result), as: UTF8.self), to: "\(folder)/growth.json")
  }

  private func plot(upTo limit: Int) -> LinePlot {
    var lines: [LinePlot.Line] = []
    for (color, arrangement) in GrowthModel.Arrangement.allCases.enumerated() {
      let measured = result.points.filter { $0.arrangement == arrangement && $0.nodes <= limit }
      lines.append(
        .init(
          name: "\(arrangement.rawValue), measured", points: measured.map { (Double($0.nodes), $0.rate) },
          isModel: false,
          color: color))
      lines.append(
        .init(
          name: "\(arrangement.rawValue), model",
          points: (1...limit).map { (Double($0), result.model.rate(arrangement, nodes: $0)) }, isModel: true,
          color: color))
    }
    return LinePlot(
      title: "Connections per second, each node with \(result.capacity) of a processor", xTitle: "server nodes",
      yTitle: "connections/s", lines: lines)
  }

  private var markdown: String {
    var lines = [
      "# Growth with nodes", "",
      """
      New connections with 8 KB answers in a closed loop. Every node (server node, front, dispatcher) is a namespace whose \
      processes are held by a control group to \(result.capacity) of one processor, so that the nodes are the limit and \
      not the machine. What the kernel does for a packet is charged to the node that sends it.
      """, "",
      "## Measured", "",
      "| server nodes | arrangement | connections/s | model says | front us | server node us | dispatcher us | front's share used | machine used | errors |",
      "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for point in result.points {
      let cells = [point.spent.front, point.spent.server, point.spent.dispatcher].map { "\(Int(($0 * 1e6).rounded()))" }
      lines.append(
        "| \(point.nodes) | \(point.arrangement.rawValue) | \(Int(point.rate)) | "
          + "\(Int(result.model.rate(point.arrangement, nodes: point.nodes))) | \(cells.joined(separator: " | ")) | "
          + "\(hundredths(point.frontShare)) | \(hundredths(point.machineShare)) | \(point.errors) |")
    }
    lines += [
      "", "![to 16 nodes](growth-16.svg)", "", "## Modelled", "",
      """
      Each kind of node uses something without any connection and something for each; both are fitted to what was measured \
      (least squares). The rate is the least that server nodes, front and dispatcher allow.
      """, "",
      "| arrangement | \(Self.modelled.map { "\($0)" }.joined(separator: " | ")) |",
      "|---|" + Self.modelled.map { _ in "---:|" }.joined(),
    ]
    for arrangement in GrowthModel.Arrangement.allCases {
      let cells = Self.modelled.map { "\(Int(result.model.rate(arrangement, nodes: $0)))" }
      lines.append("| \(arrangement.rawValue) | \(cells.joined(separator: " | ")) |")
    }
    lines += [
      "", "| arrangement | node | share of a processor without connections | us for each connection |",
      "|---|---|---:|---:|",
    ]
    for arrangement in GrowthModel.Arrangement.allCases {
      guard let costs = result.model.costs[arrangement] else { continue }
      for (name, cost) in [("front", costs.front), ("server node", costs.server), ("dispatcher", costs.dispatcher)] {
        guard let cost else { continue }
        let base = (cost.base * 1e4).rounded() / 1e4
        lines.append("| \(arrangement.rawValue) | \(name) | \(base) | \(tenths(cost.connection * 1e6)) |")
      }
    }
    let crossover = result.model.crossover(of: .distributedFront, over: .singleFront)
    lines += [
      "",
      crossover.map { "The distributed front is ahead of the single front from \($0) server nodes on." }
        ?? "The distributed front is not ahead of the single front up to 64 server nodes.",
      "", "![to 64 nodes](growth-64.svg)", "",
      """
      The paper (USENIX 2000, figures of section 6) found the single front ahead below 5 nodes and saturated from there \
      on, and linear growth of the distributed front.
      """, "",
    ]
    return lines.joined(separator: "\n")
  }
}
