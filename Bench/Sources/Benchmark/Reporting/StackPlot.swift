// SPDX-License-Identifier: Apache-2.0

/// Horizontal bars of several parts, with a legend, as SVG. Parts of one name have one colour.
struct StackPlot {
  struct Row {
    var name: String
    var parts: [(name: String, value: Double)]
  }

  var title: String
  var rows: [Row]
  /// After each row's sum.
  var unit: String

  /// Parts below a five-hundredth of the longest row would not be seen, and noise below zero is no part.
  private var visible: [Row] {
    let longest = rows.map { $0.parts.reduce(0) { $0 + max(0, $1.value) } }.max() ?? 0
    return rows.map { row in Row(name: row.name, parts: row.parts.filter { $0.value > longest / 500 }) }
  }

  var svg: String {
    let left = 150.0
    let width = 640.0
    let top = 34.0
    let step = 22.0
    let rows = visible
    let shown = Set(rows.flatMap(\.parts).map(\.name))
    // Also of what is not seen, so that the same parts have the same colours in several plots.
    var all: [String] = []
    for part in self.rows.flatMap(\.parts) where !all.contains(part.name) { all.append(part.name) }
    let names = all.filter { shown.contains($0) }
    let legendColumns = 3
    let legendRows = (names.count + legendColumns - 1) / legendColumns
    let end = top + Double(rows.count) * step
    let height = end + Double(legendRows) * 17 + 16
    let greatest = max(1e-9, rows.map { $0.parts.reduce(0) { $0 + $1.value } }.max() ?? 1)
    let scale = (width - left - 90) / greatest
    func color(_ name: String) -> String { SVG.palette[(all.firstIndex(of: name) ?? 0) % SVG.palette.count] }
    var body = [SVG.text(10, 20, title, size: 14)]
    for (index, row) in rows.enumerated() {
      let y = top + Double(index) * step
      body.append(SVG.text(left - 8, y + 13, row.name, anchor: "end"))
      var x = left
      for part in row.parts {
        let length = part.value * scale
        let tip = "\(part.name): \(StackPlot.number(part.value)) \(unit)"
        body.append(SVG.rectangle(x, y, length, 16, fill: color(part.name), title: tip))
        x += length
      }
      let sum = row.parts.reduce(0) { $0 + $1.value }
      body.append(SVG.text(x + 5, y + 13, "\(StackPlot.number(sum)) \(unit)"))
    }
    for (index, name) in names.enumerated() {
      let x = left + Double(index % legendColumns) * 160
      let y = end + 8 + Double(index / legendColumns) * 17
      body.append(SVG.rectangle(x, y, 11, 11, fill: color(name)))
      body.append(SVG.text(x + 16, y + 10, name))
    }
    return SVG.document(width: width, height: height, body)
  }

  /// Whole above ten.
  static func number(_ value: Double) -> String { value < 10 ? "\(tenths(value))" : "\(Int(value.rounded()))" }
}
