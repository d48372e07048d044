// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// `Scripts/fuzz` builds these with `-sanitize=fuzzer,address`, which instruments every module, the fuzzed ones included.
let settings: [SwiftSetting] = [
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

func product(_ name: String) -> Target.Dependency { .product(name: name, package: "handoff") }

let package = Package(
  name: "handoff-fuzzers",
  dependencies: [.package(name: "handoff", path: "..")],
  targets: [
    .target(name: "CLibFuzzer"),
    .executableTarget(name: "FuzzSegment", dependencies: ["CLibFuzzer", product("Wire")], swiftSettings: settings),
    .executableTarget(
      name: "FuzzRequestHead", dependencies: ["CLibFuzzer", product("HTTPHead")], swiftSettings: settings),
    .executableTarget(
      name: "FuzzControlMessage", dependencies: ["CLibFuzzer", product("ControlProtocol")], swiftSettings: settings),
  ],
  swiftLanguageModes: [.v6]
)
