// SPDX-License-Identifier: Apache-2.0

extension Endpoint: LosslessStringConvertible {
  /// Parses what `description` gives: `192.0.2.1:80` or `[2001:db8::1]:80`, port 1 to 65535 in decimal digits.
  public init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":") else { return nil }
    let digits = text[text.index(after: colon)...]
    // `UInt16` would take a sign.
    guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits), port > 0 else {
      return nil
    }
    var host = text[..<colon]
    let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
    if isBracketed { host = host.dropFirst().dropLast() }
    guard let address = IPAddress(String(host)), address.isIPv4 != isBracketed else { return nil }
    self.init(address, port)
  }
}
