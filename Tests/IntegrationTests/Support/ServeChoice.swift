// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// How the server nodes of the tests' clusters serve: `HANDOFF_SERVE=repair` runs the tests with relays.
enum ServeChoice {
  static let serve = HostFacts.environment("HANDOFF_SERVE") ?? "auto"
}
