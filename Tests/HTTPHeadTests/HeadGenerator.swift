// SPDX-License-Identifier: Apache-2.0

/// Heads that are mostly right, with a chance of each oddity that parsers disagree on.
struct HeadGenerator {
  var random: SeededGenerator

  mutating func next() -> [UInt8] {
    var lines = [requestLine()]
    lines += hostLines()
    lines += framingLines()
    for _ in 0..<Int.random(in: 0...4, using: &random) { lines.append(otherLine()) }
    if random.chance(1) { lines += Array(repeating: "X: y", count: 130) }
    lines[1...].shuffle(using: &random)
    let ending = random.chance(4) ? "\n" : "\r\n"
    var bytes = Array((lines.joined(separator: ending) + ending + "\r\n").utf8)
    if random.chance(3) { bytes = Array("\r\n".utf8) + bytes }
    if random.chance(30) { Mutation.apply(to: &bytes, times: Int.random(in: 1...2, using: &random), using: &random) }
    if random.chance(20) { bytes += Array("rest of\r\n\r\nthe connection".utf8) }
    return bytes
  }

  private mutating func pick(_ common: [String], _ odd: [String], oddPercent: Int) -> String {
    (random.chance(oddPercent) ? odd : common).randomElement(using: &random) ?? ""
  }

  private mutating func requestLine() -> String {
    let method = pick(
      ["GET", "POST", "HEAD", "OPTIONS", "PUT"],
      ["CONNECT", "get", "M-SEARCH", "G!#$%&'*+-.^_`|~T", "", "G@T", String(repeating: "A", count: 70)], oddPercent: 8)
    let target = pick(
      ["/", "/a", "/a/b?c=d&e", "/%41", "//a//b", "/a|b"],
      [
        "*", "http://a/b", "http://a", "http://a?q", "HTTP://A:80/b?c", "https://a:443/", "a:80", "a", "/a#b", "/\"",
        "http://u@a/", "http:///b", "1://a/", "/é", "", "/" + String(repeating: "x", count: 9000),
      ], oddPercent: 20)
    let version = pick(
      ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"],
      ["HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1", "HTTP/1.10", "HTTP/11", "", "ICY/1.0"],
      oddPercent: 8)
    let space = pick([" "], ["  ", "\t", ""], oddPercent: 1)
    return method + " " + target + space + version
  }

  private mutating func hostLines() -> [String] {
    if random.chance(6) { return [] }
    let host = pick(
      ["Host: a", "host:a", "HOST:  a:80 "],
      [
        "Host: b", "Host:", "Host: [::1]:80", "Host: a, a", "Host: a/b", "Host: a:x", "Host: [::1", "Host : a",
        "Host: é",
      ],
      oddPercent: 12)
    return random.chance(3) ? [host, "Host: a"] : [host]
  }

  private mutating func framingLines() -> [String] {
    var lines: [String] = []
    if random.chance(30) {
      lines.append(
        pick(
          ["Content-Length: 5", "content-length:0", "Content-Length: 18446744073709551615", "Content-Length:\t007 "],
          [
            "Content-Length: 18446744073709551616", "Content-Length: +5", "Content-Length: -5", "Content-Length: 5, 5",
            "Content-Length: 5,6", "Content-Length:", "Content-Length: 0x5", "Content-Length: 5 5", "Content_Length: 5",
          ], oddPercent: 20))
      if random.chance(8) { lines.append(random.chance(50) ? lines[0] : "Content-Length: 6") }
    }
    if random.chance(20) {
      lines.append(
        pick(
          ["Transfer-Encoding: chunked", "transfer-encoding:CHUNKED "],
          [
            "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: identity", "Transfer-Encoding:",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked;a=b", "Transfer-Encoding: \u{b}chunked", "Transfer-Encoding: chunked, chunked",
          ], oddPercent: 20))
      if random.chance(5) { lines.append(lines[lines.count - 1]) }
    }
    return lines
  }

  private mutating func otherLine() -> String {
    pick(
      [
        "Accept: */*", "User-Agent: x (y; z)", "X:", "Cookie: a=b; c=d", "Connection: close", "Connection: keep-alive",
        "Connection: a , Upgrade,,", "Upgrade: websocket", "Expect: 100-continue", "Expect: a, 100-CONTINUE", "X: é\té",
      ],
      [
        " folded", "\tX: y", "X\t: y", ": y", "X", "X: \u{1}", "X: \u{7f}", "X: \0", "X: a\rb", "X(: y", "é: y",
        "X: \u{c}y",
      ],
      oddPercent: 5)
  }
}
