// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Percentiles of several systems as dots on a logarithmic axis, as SVG.
struct LatencyPlot {
  struct Row {
    var name: String
    /// Microseconds: p50, p99, p99.9.
    var values: [Double]
    var kind: BenchSystem.Kind?
  }

  var title: String
  var rows: [Row]

  private static let names = ["p50", "p99", "p99.9"]

  var svg: String {
    let left = 150.0
    let width = 640.0
    let top = 34.0
    let step = 22.0
    let end = top + Double(rows.count) * step
    let height = end + 34
    let all = rows.flatMap(\.values).filter { $0 > 0 }
    // Whole powers of ten on both sides.
    let low = Glibc.floor(log10(max(1, all.min() ?? 1)))
    let high = max(low + 1, Glibc.ceil(log10(max(1, all.max() ?? 10))))
    let plotWidth = width - left - 155
    func x(_ value: Double) -> Double { left + (log10(max(1, value)) - low) / (high - low) * plotWidth }
    var body = [SVG.text(10, 20, title, size: 14)]
    for exponent in Int(low)...Int(high) {
      let value = pow(10, Double(exponent))
      body.append(SVG.line(x(value), top - 4, x(value), end, stroke: "#ddd"))
      body.append(SVG.text(x(value), end + 14, LatencyPlot.duration(value), anchor: "middle", size: 11, fill: "#555"))
    }
    for (index, row) in rows.enumerated() {
      let y = top + Double(index) * step + 9
      let color = SVG.color(of: row.kind)
      body.append(SVG.text(left - 8, y + 4, row.name, anchor: "end"))
      if let first = row.values.first, let last = row.values.last {
        body.append(SVG.line(x(first), y, x(last), y, stroke: color))
      }
      for (number, value) in row.values.enumerated() {
        let fill = number == 0 ? color : number == 1 ? "#fff" : "#000"
        body.append(
          "<circle cx=\"\(tenths(x(value)))\" cy=\"\(tenths(y))\" r=\"4\" fill=\"\(fill)\" stroke=\"\(color)\">"
            + "<title>\(LatencyPlot.names[number]): \(LatencyPlot.duration(value))</title></circle>")
      }
      let text = row.values.map(LatencyPlot.duration).joined(separator: " / ")
      body.append(SVG.text(left + plotWidth + 8, y + 4, text, size: 10))
    }
    body.append(SVG.text(left, height - 6, "filled p50, open p99, black p99.9", size: 11, fill: "#555"))
    return SVG.document(width: width, height: height, body)
  }

  static func duration(_ microseconds: Double) -> String {
    switch microseconds {
    case ..<1000: "\(Int(microseconds.rounded())) us"
    case ..<10_000: "\(tenths(microseconds / 1e3)) ms"
    case ..<1e6: "\(Int((microseconds / 1e3).rounded())) ms"
    default: "\(tenths(microseconds / 1e6)) s"
    }
  }
}
