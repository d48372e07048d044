// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A line plot as SVG.
struct LinePlot {
  var title: String
  var lines: [(name: String, points: [(x: Double, y: Double)])]

  private static let colors = [
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
    "#393b79", "#637939",
  ]
  private static let width = 720.0
  private static let height = 440.0
  private static let left = 70.0
  private static let right = 170.0
  private static let top = 40.0
  private static let bottom = 40.0

  var svg: String {
    let points = lines.flatMap(\.points)
    let maxX = max(1, points.map(\.x).max() ?? 1)
    let maxY = max(1e-9, points.map(\.y).max() ?? 1)
    func place(_ x: Double, _ y: Double) -> String {
      let px = LinePlot.left + x / maxX * (LinePlot.width - LinePlot.left - LinePlot.right)
      let py = LinePlot.height - LinePlot.bottom - y / maxY * (LinePlot.height - LinePlot.top - LinePlot.bottom)
      return String(format: "%.1f,%.1f", px, py)
    }
    func text(_ at: String, _ content: String, _ anchor: String) -> String {
      let parts = at.split(separator: ",")
      return "<text x=\"\(parts[0])\" y=\"\(parts[1])\" text-anchor=\"\(anchor)\">\(content)</text>"
    }
    var body: [String] = [text("\(LinePlot.left),24", title, "start")]
    body.append(
      "<polyline fill=\"none\" stroke=\"#000\" points=\"\(place(0, maxY)) \(place(0, 0)) \(place(maxX, 0))\"/>")
    for step in 0...4 {
      let y = maxY * Double(step) / 4
      body.append(text(place(-0.02 * maxX, y), String(format: maxY > 10 ? "%.0f" : "%.2f", y), "end"))
    }
    for x in Set(points.map(\.x)).sorted() {
      body.append(text(place(x, -0.05 * maxY), String(format: "%.0f", x), "middle"))
    }
    for (index, line) in lines.enumerated() {
      let color = LinePlot.colors[index % LinePlot.colors.count]
      let path = line.points.map { place($0.x, $0.y) }.joined(separator: " ")
      body.append("<polyline fill=\"none\" stroke=\"\(color)\" stroke-width=\"1.5\" points=\"\(path)\"/>")
      let y = LinePlot.top + Double(index) * 18
      let x = LinePlot.width - LinePlot.right + 12
      body.append("<rect x=\"\(x)\" y=\"\(y)\" width=\"12\" height=\"3\" fill=\"\(color)\"/>")
      body.append(text("\(x + 18),\(y + 5)", line.name, "start"))
    }
    return
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(Int(LinePlot.width))\" height=\"\(Int(LinePlot.height))\" "
      + "font-family=\"sans-serif\" font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
      + body.joined(separator: "\n") + "\n</svg>\n"
  }
}
