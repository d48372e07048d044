// SPDX-License-Identifier: Apache-2.0

/// Horizontal bars with the spread of each as a line, as SVG.
struct BarPlot {
  struct Bar {
    var name: String
    var value: Double
    var spread: ClosedRange<Double>?
    var kind: BenchSystem.Kind?
  }

  var title: String
  var bars: [Bar]
  /// A line across all bars, such as 1 for "as the reference".
  var mark: Double?

  var svg: String {
    let left = 150.0
    let width = 640.0
    let top = 34.0
    let step = 22.0
    let height = top + Double(bars.count) * step + 12
    let greatest = max(1e-9, bars.map { max($0.value, $0.spread?.upperBound ?? 0) }.max() ?? 1, mark ?? 0)
    func x(_ value: Double) -> Double { left + max(0, value) / greatest * (width - left - 60) }
    var body = [SVG.text(10, 20, title, size: 14)]
    for (index, bar) in bars.enumerated() {
      let y = top + Double(index) * step
      body.append(SVG.text(left - 8, y + 13, bar.name, anchor: "end"))
      body.append(SVG.rectangle(left, y, x(bar.value) - left, 16, fill: SVG.color(of: bar.kind)))
      if let spread = bar.spread, spread.lowerBound < spread.upperBound {
        body.append(SVG.line(x(spread.lowerBound), y + 8, x(spread.upperBound), y + 8, stroke: "#000"))
      }
      let end = x(max(bar.value, bar.spread?.upperBound ?? 0))
      body.append(SVG.text(end + 5, y + 13, "\(hundredths(bar.value))"))
    }
    if let mark { body.append(SVG.line(x(mark), top - 6, x(mark), height - 8, stroke: "#2ca02c", dash: true)) }
    return SVG.document(width: width, height: height, body)
  }
}
