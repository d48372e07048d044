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
  products: [
    .executable(name: "bench-decisions", targets: ["DecisionBench"]),
    .executable(name: "simulate", targets: ["Simulate"]),
    .executable(name: "load", targets: ["LoadTool"]),
    .executable(name: "bench", targets: ["BenchTool"]),
  ],
  dependencies: [
    // By a link to the folder above: SwiftPM names a package after the last part of its path, and that of a checkout may be
    // anything, this package's own name included.
    .package(path: "handoff"), .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
  ],
  targets: [
    .executableTarget(
      name: "DecisionBench",
      dependencies: [
        .product(name: "DispatcherCore", package: "handoff"), .product(name: "ControlProtocol", package: "handoff"),
        .product(name: "Dispatcher", package: "handoff"), .product(name: "ControlChannel", package: "handoff"),
        .product(name: "LinuxKernel", package: "handoff"), .product(name: "Telemetry", package: "handoff"),
        .product(name: "Wire", package: "handoff"), .product(name: "Logging", package: "swift-log"),
      ], swiftSettings: strict),
    .target(
      name: "Simulator",
      dependencies: [
        .product(name: "DispatcherCore", package: "handoff"), .product(name: "ControlProtocol", package: "handoff"),
        .product(name: "Wire", package: "handoff"),
      ], swiftSettings: strict),
    .executableTarget(name: "Simulate", dependencies: ["Simulator"], swiftSettings: strict),
    // The walks of the main package's unit tests, for millions of events in the release build.
    .testTarget(
      name: "RandomEventTests",
      dependencies: [
        .product(name: "DispatcherCore", package: "handoff"), .product(name: "ControlProtocol", package: "handoff"),
        .product(name: "Rules", package: "handoff"), .product(name: "Wire", package: "handoff"),
      ], swiftSettings: strict),
    .target(
      name: "Load",
      dependencies: [
        .product(name: "Lab", package: "handoff"), .product(name: "LinuxKernel", package: "handoff"),
        .product(name: "Wire", package: "handoff"),
      ], swiftSettings: strict),
    .executableTarget(
      name: "LoadTool",
      dependencies: [
        "Load", .product(name: "Lab", package: "handoff"), .product(name: "LinuxKernel", package: "handoff"),
        .product(name: "Wire", package: "handoff"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], swiftSettings: strict),
    .target(
      name: "Benchmark",
      dependencies: [
        "Load", .product(name: "Lab", package: "handoff"), .product(name: "LinuxKernel", package: "handoff"),
        .product(name: "Wire", package: "handoff"),
      ], swiftSettings: strict),
    .executableTarget(
      name: "BenchTool",
      dependencies: [
        "Benchmark", .product(name: "Lab", package: "handoff"), .product(name: "LinuxKernel", package: "handoff"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], swiftSettings: strict),
    .testTarget(
      name: "LoadTests",
      dependencies: [
        "Load", .product(name: "Lab", package: "handoff"), .product(name: "LinuxKernel", package: "handoff"),
        .product(name: "Wire", package: "handoff"),
      ], swiftSettings: strict),
    .testTarget(name: "BenchmarkTests", dependencies: ["Benchmark", "Load"], swiftSettings: strict),
    .testTarget(
      name: "SimulatorTests",
      dependencies: ["Simulator", .product(name: "DispatcherCore", package: "handoff")], exclude: ["Golden"],
      swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6]
)
