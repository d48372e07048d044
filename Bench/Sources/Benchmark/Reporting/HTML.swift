// SPDX-License-Identifier: Apache-2.0

/// Pieces of a page that needs nothing from elsewhere.
enum HTML {
  static func escaped(_ text: some StringProtocol) -> String {
    var result = ""
    for character in text {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      default: result.append(character)
      }
    }
    return result
  }

  /// A cell whose background tells how good it is: -1 bad (red), 0 as the reference, 1 good (green).
  struct Cell {
    var text: String
    var quality: Double?
    var note = ""

    static let empty = Cell(text: "", quality: nil)
  }

  static func table(_ head: [String], _ rows: [[Cell]], leftColumns: Int = 1) -> String {
    func tag(_ name: String, _ column: Int, _ cell: Cell) -> String {
      let color = cell.quality.map { " style=\"background:\(shade($0))\"" } ?? ""
      let side = column < leftColumns ? " class=\"left\"" : ""
      let tip = cell.note.isEmpty ? "" : " title=\"\(escaped(cell.note))\""
      return "<\(name)\(side)\(color)\(tip)>\(escaped(cell.text))</\(name)>"
    }
    let titles = head.enumerated().map { tag("th", $0.offset, Cell(text: $0.element)) }.joined()
    let lines = rows.map { row in
      "<tr>" + row.enumerated().map { tag("td", $0.offset, $0.element) }.joined() + "</tr>\n"
    }
    return
      "<div class=\"wide\"><table><thead><tr>\(titles)</tr></thead>\n<tbody>\n\(lines.joined())</tbody></table></div>\n"
  }

  private static func shade(_ quality: Double) -> String {
    let share = min(1, abs(quality))
    let full = quality < 0 ? (r: 239.0, g: 138.0, b: 98.0) : (r: 127.0, g: 191.0, b: 123.0)
    func mix(_ end: Double) -> Int { Int((255 + (end - 255) * share).rounded()) }
    return "rgb(\(mix(full.r)),\(mix(full.g)),\(mix(full.b)))"
  }

  static func page(title: String, _ body: [String]) -> String {
    """
    <!DOCTYPE html>
    <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
    <title>\(escaped(title))</title>
    <style>
    body { font: 15px/1.5 sans-serif; color: #222; background: #fff; max-width: 1340px; margin: 1.5em auto; padding: 0 1em; }
    h1 { font-size: 1.7em; } h2 { font-size: 1.3em; margin-top: 2em; border-bottom: 1px solid #ccc; }
    table { border-collapse: collapse; font-size: 13px; margin: .6em 0; }
    th, td { border: 1px solid #ddd; padding: 3px 8px; text-align: right; white-space: nowrap; }
    th { background: #f3f3f3; } .left { text-align: left; }
    .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(560px, 1fr)); gap: 10px; align-items: start; }
    .plots svg { width: 100%; height: auto; border: 1px solid #eee; }
    .wide { overflow-x: auto; } nav a { margin-right: 1em; } .note { color: #555; max-width: 60em; }
    </style></head><body>
    \(body.joined(separator: "\n"))
    </body></html>

    """
  }
}
