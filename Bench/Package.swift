// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// The settings of the main package: strict memory safety, and a warning is an error.
let strict: [SwiftSetting] = [
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
  name: "handoff-bench",
  products: [.executable(name: "bench-decisions", targets: ["DecisionBench"])],
  dependencies: [.package(name: "handoff", path: "..")],
  targets: [
    .executableTarget(
      name: "DecisionBench",
      dependencies: [
        .product(name: "DispatcherCore", package: "handoff"), .product(name: "ControlProtocol", package: "handoff"),
        .product(name: "Wire", package: "handoff"),
      ], swiftSettings: strict)
  ],
  swiftLanguageModes: [.v6]
)
