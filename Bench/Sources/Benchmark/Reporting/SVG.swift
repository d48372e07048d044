// SPDX-License-Identifier: Apache-2.0

enum SVG {
  static func document(width: Double, height: Double, _ body: [String]) -> String {
    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(Int(width))\" height=\"\(Int(height))\" "
      + "viewBox=\"0 0 \(Int(width)) \(Int(height))\" font-family=\"sans-serif\" "
      + "font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n" + body.joined(separator: "\n")
      + "\n</svg>\n"
  }

  static func text(
    _ x: Double, _ y: Double, _ text: String, anchor: String = "start", size: Int = 12, fill: String = "#000"
  ) -> String {
    "<text x=\"\(tenths(x))\" y=\"\(tenths(y))\" text-anchor=\"\(anchor)\" font-size=\"\(size)\" fill=\"\(fill)\">"
      + "\(HTML.escaped(text))</text>"
  }

  static func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, stroke: String, dash: Bool = false) -> String
  {
    "<line x1=\"\(tenths(x1))\" x2=\"\(tenths(x2))\" y1=\"\(tenths(y1))\" y2=\"\(tenths(y2))\" stroke=\"\(stroke)\""
      + "\(dash ? " stroke-dasharray=\"4 3\"" : "")/>"
  }

  static func rectangle(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, fill: String, title: String = ""
  ) -> String {
    let shape =
      "<rect x=\"\(tenths(x))\" y=\"\(tenths(y))\" width=\"\(tenths(max(0, width)))\" height=\"\(tenths(height))\" "
      + "fill=\"\(fill)\""
    return title.isEmpty ? "\(shape)/>" : "\(shape)><title>\(HTML.escaped(title))</title></rect>"
  }

  /// What a system is tells its colour: this project red, peers blue, what is no balancer by content grey.
  static func color(of kind: BenchSystem.Kind?) -> String {
    switch kind {
    case .cluster: "#d6604d"
    case .peer, nil: "#4a90c2"
    case .reference: "#707070"
    case .lowerBound: "#a9a9a9"
    }
  }

  /// Colours for the parts of one thing.
  static let palette = [
    "#4a90c2", "#d6604d", "#5aae61", "#f4a582", "#9970ab", "#92c5de", "#c9a227", "#b2182b", "#a6dba0", "#8c8c8c",
    "#2166ac", "#e08214",
  ]
}

func tenths(_ value: Double) -> Double { (value * 10).rounded() / 10 }
