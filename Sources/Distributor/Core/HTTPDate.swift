// SPDX-License-Identifier: Apache-2.0

/// The Date field in the form that RFC 9110 section 5.6.7 prefers: `Sun, 06 Nov 1994 08:49:37 GMT`.
enum HTTPDate {
  private static let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
  private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

  /// Appends `Date: ...` and the line's end for a number of seconds since 1970.
  static func append(_ seconds: UInt64, to text: inout [UInt8]) {
    // Four digits of year are all that the format has.
    let seconds = min(seconds, 253_402_300_799)
    let day = Int(seconds / 86_400)
    let second = Int(seconds % 86_400)
    // Days are counted from the 1st of March of year 0, so that a leap day is the last of its year.
    let shifted = day + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let marchMonth = (5 * dayOfYear + 2) / 153
    let month = (marchMonth + 2) % 12
    let year = era * 400 + yearOfEra + (month < 2 ? 1 : 0)
    text += "Date: \(days[day % 7]), ".utf8
    number(dayOfYear - (153 * marchMonth + 2) / 5 + 1, digits: 2, to: &text)
    text += " \(months[month]) ".utf8
    number(year, digits: 4, to: &text)
    text.append(0x20)
    number(second / 3600, digits: 2, to: &text)
    text.append(0x3a)
    number(second / 60 % 60, digits: 2, to: &text)
    text.append(0x3a)
    number(second % 60, digits: 2, to: &text)
    text += " GMT\r\n".utf8
  }

  private static func number(_ value: Int, digits: Int, to text: inout [UInt8]) {
    var divisor = 1
    for _ in 1..<digits { divisor *= 10 }
    while divisor > 0 {
      text.append(0x30 + UInt8(value / divisor % 10))
      divisor /= 10
    }
  }
}
