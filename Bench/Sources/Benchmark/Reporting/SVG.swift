// SPDX-License-Identifier: Apache-2.0

enum SVG {
  static func document(width: Double, height: Double, _ body: [String]) -> String {
    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(Int(width))\" height=\"\(Int(height))\" font-family=\"sans-serif\" "
      + "font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n" + body.joined(separator: "\n")
      + "\n</svg>\n"
  }
}

func tenths(_ value: Double) -> Double { (value * 10).rounded() / 10 }
