// SPDX-License-Identifier: Apache-2.0

import CLinux

/// Whether something keeps this host's clock right (adjtimex(2)).
public enum ClockDiscipline: Hashable, Sendable {
  case synchronised
  case alone
  case unknown

  public static func current() -> ClockDiscipline {
    switch clinux_clock_state() {
    case 0...4: .synchronised
    case 5: .alone
    default: .unknown
    }
  }
}
