// SPDX-License-Identifier: Apache-2.0

import Glibc

@main
enum Main {
  static func main() { exit(Startup.run(Array(CommandLine.arguments.dropFirst()))) }
}
