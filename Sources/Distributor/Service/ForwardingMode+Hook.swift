// SPDX-License-Identifier: Apache-2.0

import ForwardingPlane

extension ForwardingHook {
  init(_ mode: ForwardingMode) {
    self =
      switch mode {
      case .auto: .auto
      case .tc: .tc
      case .xdp: .xdp
      }
  }
}
