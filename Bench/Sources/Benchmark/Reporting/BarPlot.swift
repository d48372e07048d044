// SPDX-License-Identifier: Apache-2.0

/// Horizontal bars with the spread of each as a line, as SVG.
struct BarPlot {
  struct Bar {
    var name: String
    var value: Double
    var spread: ClosedRange<Double>?
    var isOwn = false
  }

  var title: String
  var bars: [Bar]
  /// A line across all bars, such as 1 for "as the reference".
  var mark: Double?

  var svg: String {
    let left = 150.0
    let width = 720.0
    let top = 34.0
    let step = 22.0
    let height = top + Double(bars.count) * step + 12
    let greatest = max(1e-9, bars.map { max($0.value, $0.spread?.upperBound ?? 0) }.max() ?? 1, mark ?? 0)
    func x(_ value: Double) -> Double { left + value / greatest * (width - left - 60) }
    var body = ["<text x=\"10\" y=\"20\" font-size=\"14\">\(title)</text>"]
    for (index, bar) in bars.enumerated() {
      let y = top + Double(index) * step
      let color = bar.isOwn ? "#d62728" : "#1f77b4"
      body.append("<text x=\"\(left - 8)\" y=\"\(y + 13)\" text-anchor=\"end\">\(bar.name)</text>")
      body.append(
        "<rect x=\"\(left)\" y=\"\(y)\" width=\"\(tenths(x(bar.value) - left))\" height=\"16\" fill=\"\(color)\" fill-opacity=\"0.75\"/>"
      )
      if let spread = bar.spread {
        body.append(
          "<line x1=\"\(tenths(x(spread.lowerBound)))\" x2=\"\(tenths(x(spread.upperBound)))\" y1=\"\(y + 8)\" y2=\"\(y + 8)\" stroke=\"#000\"/>"
        )
      }
      let end = x(max(bar.value, bar.spread?.upperBound ?? 0))
      body.append("<text x=\"\(tenths(end + 5))\" y=\"\(y + 13)\">\(hundredths(bar.value))</text>")
    }
    if let mark {
      body.append(
        "<line x1=\"\(tenths(x(mark)))\" x2=\"\(tenths(x(mark)))\" y1=\"\(top - 6)\" y2=\"\(height - 8)\" stroke=\"#2ca02c\" stroke-dasharray=\"4 3\"/>"
      )
    }
    return SVG.document(width: width, height: height, body)
  }
}
