// SPDX-License-Identifier: Apache-2.0

/// Lines over a common horizontal axis; what is modelled is dashed, what is measured has dots.
struct LinePlot {
  struct Line {
    var name: String
    var points: [(x: Double, y: Double)]
    var isModel: Bool
    /// Lines of one thing, measured and modelled, have one colour.
    var color: Int
  }

  var title: String
  var xTitle: String
  var yTitle: String
  var lines: [Line]

  private static let colors = ["#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b"]

  var svg: String {
    let (left, right, top, bottom) = (70.0, 270.0, 40.0, 44.0)
    let (width, height) = (860.0, 440.0)
    let points = lines.flatMap(\.points)
    let maxX = max(1, points.map(\.x).max() ?? 1)
    let maxY = max(1e-9, points.map(\.y).max() ?? 1)
    func x(_ value: Double) -> Double { tenths(left + value / maxX * (width - left - right)) }
    func y(_ value: Double) -> Double { tenths(height - bottom - value / maxY * (height - top - bottom)) }
    var body = [
      "<text x=\"\(left)\" y=\"22\" font-size=\"14\">\(title)</text>",
      "<text x=\"\((left + width - right) / 2)\" y=\"\(height - 8)\" text-anchor=\"middle\">\(xTitle)</text>",
      "<text x=\"14\" y=\"\(height / 2)\" text-anchor=\"middle\" transform=\"rotate(-90 14 \(height / 2))\">\(yTitle)</text>",
      "<polyline fill=\"none\" stroke=\"#000\" points=\"\(x(0)),\(y(maxY)) \(x(0)),\(y(0)) \(x(maxX)),\(y(0))\"/>",
    ]
    for step in 0...4 {
      let value = maxY * Double(step) / 4
      let text = maxY > 10 ? "\(Int(value.rounded()))" : "\(hundredths(value))"
      body.append("<text x=\"\(left - 6)\" y=\"\(y(value) + 4)\" text-anchor=\"end\">\(text)</text>")
      let place = maxX * Double(step) / 4
      body.append("<text x=\"\(x(place))\" y=\"\(height - bottom + 16)\" text-anchor=\"middle\">\(Int(place))</text>")
    }
    for (index, line) in lines.enumerated() {
      let color = LinePlot.colors[line.color % LinePlot.colors.count]
      let path = line.points.map { "\(x($0.x)),\(y($0.y))" }.joined(separator: " ")
      let dash = line.isModel ? " stroke-dasharray=\"6 4\"" : ""
      body.append("<polyline fill=\"none\" stroke=\"\(color)\" stroke-width=\"1.6\"\(dash) points=\"\(path)\"/>")
      if !line.isModel {
        for point in line.points {
          body.append("<circle cx=\"\(x(point.x))\" cy=\"\(y(point.y))\" r=\"3.2\" fill=\"\(color)\"/>")
        }
      }
      let row = top + Double(index) * 18
      let start = width - right + 14
      body.append(
        "<line x1=\"\(start)\" x2=\"\(start + 22)\" y1=\"\(row)\" y2=\"\(row)\" stroke=\"\(color)\" stroke-width=\"1.6\"\(dash)/>"
      )
      body.append("<text x=\"\(start + 28)\" y=\"\(row + 4)\">\(line.name)</text>")
    }
    return SVG.document(width: width, height: height, body)
  }
}
