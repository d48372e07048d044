// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// Every target of this package is built with strict memory safety, and a warning is an error.
let strict: [SwiftSetting] = [
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let flyingFox: Target.Dependency = .product(name: "FlyingFox", package: "FlyingFox")

let package = Package(
  name: "handoff",
  products: [
    .executable(name: "cluster_startup", targets: ["ClusterStartup"]),
    .executable(name: "clusterctl", targets: ["ClusterControl"]),
    .executable(name: "lab", targets: ["LabTool"]),
    .library(name: "Wire", targets: ["Wire"]),
    .library(name: "HTTPHead", targets: ["HTTPHead"]),
    .library(name: "Handoff", targets: ["Handoff"]),
    .library(name: "Rules", targets: ["Rules"]),
    .library(name: "ControlProtocol", targets: ["ControlProtocol"]),
    .library(name: "DispatcherCore", targets: ["DispatcherCore"]),
    .library(name: "Dispatcher", targets: ["Dispatcher"]),
    .library(name: "DistributorCore", targets: ["DistributorCore"]),
    .library(name: "LinuxKernel", targets: ["LinuxKernel"]),
    .library(name: "ControlChannel", targets: ["ControlChannel"]),
    .library(name: "Telemetry", targets: ["Telemetry"]),
    .library(name: "Lab", targets: ["Lab"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/swhitty/FlyingFox", from: "0.27.1"),
  ],
  targets: [
    // MARK: C libraries and headers
    .systemLibrary(name: "Clibmnl", pkgConfig: "libmnl", providers: [.apt(["libmnl-dev"])]),
    .systemLibrary(
      name: "Clibnetfilter_queue", pkgConfig: "libnetfilter_queue", providers: [.apt(["libnetfilter-queue-dev"])]),
    .systemLibrary(name: "Clibbpf", pkgConfig: "libbpf", providers: [.apt(["libbpf-dev"])]),
    .target(name: "CLinux"),
    .target(name: "CForwardingPlane"),

    // MARK: Pure modules: no I/O, no clock, no Glibc
    .target(name: "Wire", swiftSettings: strict),
    .target(name: "HTTPHead", swiftSettings: strict),
    .target(name: "Handoff", dependencies: ["Wire"], swiftSettings: strict),
    .target(name: "Rules", dependencies: ["HTTPHead", "Wire"], swiftSettings: strict),
    .target(name: "ControlProtocol", dependencies: ["Wire", "Handoff", "Rules"], swiftSettings: strict),
    .target(
      name: "DispatcherCore", dependencies: ["Wire", "ControlProtocol", "Rules"], path: "Sources/Dispatcher/Core",
      swiftSettings: strict),
    .target(
      name: "DistributorCore", dependencies: ["Wire", "HTTPHead", "Handoff", "Rules", "ControlProtocol"],
      path: "Sources/Distributor/Core", swiftSettings: strict),
    .target(
      name: "BackEndCore", dependencies: ["Wire", "Handoff", "ControlProtocol"], path: "Sources/BackEnd/Core",
      swiftSettings: strict),

    // MARK: I/O
    .target(
      name: "LinuxKernel", dependencies: ["CLinux", "Clibmnl", "Clibnetfilter_queue", "Wire"], swiftSettings: strict),
    .target(
      name: "ForwardingPlane",
      dependencies: ["CForwardingPlane", "CLinux", "Clibbpf", "Handoff", "LinuxKernel", "Wire"],
      exclude: ["BPF"], swiftSettings: strict, plugins: ["CompileBPF"]),
    .target(name: "AdminReports", swiftSettings: strict),
    .target(name: "NodeChecks", dependencies: ["LinuxKernel", "Wire"], swiftSettings: strict),
    .target(name: "Telemetry", dependencies: ["LinuxKernel", "Wire", logging, flyingFox], swiftSettings: strict),
    .target(
      name: "ControlChannel", dependencies: ["LinuxKernel", "ControlProtocol", "Handoff", "Wire"], swiftSettings: strict
    ),
    .target(
      name: "Dispatcher",
      dependencies: [
        "DispatcherCore", "ControlChannel", "ControlProtocol", "HTTPHead", "LinuxKernel", "NodeChecks", "Rules",
        "Telemetry", "Wire", logging,
      ],
      path: "Sources/Dispatcher/Service", swiftSettings: strict),
    .target(
      name: "Distributor",
      dependencies: [
        "DistributorCore", "ControlChannel", "ControlProtocol", "ForwardingPlane", "Handoff", "LinuxKernel",
        "NodeChecks", "Rules", "Telemetry", "Wire", logging,
      ],
      path: "Sources/Distributor/Service", swiftSettings: strict),
    .target(
      name: "BackEnd",
      dependencies: [
        "BackEndCore", "ControlChannel", "ForwardingPlane", "LinuxKernel", "NodeChecks", "Telemetry", "Wire", logging,
      ],
      path: "Sources/BackEnd/Service", swiftSettings: strict),
    .executableTarget(
      name: "ClusterStartup",
      dependencies: [
        "AdminReports", "Dispatcher", "DispatcherCore", "Distributor", "BackEnd", "BackEndCore", "ControlProtocol",
        "Handoff", "NodeChecks", "Rules", "Telemetry", "LinuxKernel", "Wire", argumentParser, logging, yams,
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "ClusterControl",
      dependencies: [
        "AdminReports", "BackEnd", "BackEndCore", "ControlProtocol", "Dispatcher", "Distributor", "LinuxKernel",
        "NodeChecks", "Telemetry", "Wire", argumentParser, logging,
      ],
      swiftSettings: strict),

    // MARK: Lab: a cluster in network namespaces
    .target(name: "Lab", dependencies: ["LinuxKernel", "Wire"], swiftSettings: strict),
    .executableTarget(name: "LabTool", dependencies: ["Lab", "LinuxKernel", argumentParser], swiftSettings: strict),

    // MARK: BPF programs are compiled by the toolchain's clang and embedded
    .executableTarget(name: "BPFEmbed", swiftSettings: strict),
    .plugin(name: "CompileBPF", capability: .buildTool(), dependencies: ["BPFEmbed"]),

    // MARK: Tests
    .testTarget(name: "WireTests", dependencies: ["Wire"], swiftSettings: strict),
    .testTarget(name: "HandoffTests", dependencies: ["Handoff", "Wire"], swiftSettings: strict),
    .testTarget(name: "HTTPHeadTests", dependencies: ["HTTPHead"], swiftSettings: strict),
    .testTarget(name: "RulesTests", dependencies: ["HTTPHead", "Rules", "Wire"], swiftSettings: strict),
    .testTarget(
      name: "ControlProtocolTests", dependencies: ["ControlProtocol", "Handoff", "Rules"], swiftSettings: strict),
    .testTarget(
      name: "DispatcherCoreTests",
      dependencies: ["DispatcherCore", "DistributorCore", "ControlProtocol", "Rules", "Wire"],
      swiftSettings: strict),
    .testTarget(
      name: "DispatcherTests",
      dependencies: [
        "Dispatcher", "DispatcherCore", "ControlChannel", "ControlProtocol", "LinuxKernel", "Rules", "Wire",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "DistributorTests", dependencies: ["Distributor", "ControlProtocol", "Wire"], swiftSettings: strict),
    .testTarget(
      name: "DistributorCoreTests",
      dependencies: ["ControlProtocol", "DistributorCore", "HTTPHead", "Handoff", "Rules", "Wire"],
      swiftSettings: strict),
    .testTarget(name: "BackEndTests", dependencies: ["BackEnd", "BackEndCore", "Lab"], swiftSettings: strict),
    .testTarget(name: "LinuxKernelTests", dependencies: ["LinuxKernel", "Lab"], swiftSettings: strict),
    .testTarget(
      name: "ControlChannelTests",
      dependencies: ["ControlChannel", "ControlProtocol", "Handoff", "LinuxKernel", "Wire"], swiftSettings: strict),
    .testTarget(
      name: "ForwardingPlaneTests",
      dependencies: [
        "ForwardingPlane", "CForwardingPlane", "Clibbpf", "CLinux", "DistributorCore", "Handoff", "LinuxKernel", "Wire",
        "Lab",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "TelemetryTests", dependencies: ["Telemetry", "LinuxKernel", "Wire", logging], swiftSettings: strict),
    .testTarget(
      name: "ClusterStartupTests",
      dependencies: [
        "ClusterStartup", "ClusterControl", "AdminReports", "ControlChannel", "ControlProtocol", "DispatcherCore",
        "LinuxKernel", "NodeChecks", "Rules", "Telemetry", "Wire", argumentParser, logging,
      ],
      exclude: ["Golden"], swiftSettings: strict),
    .testTarget(name: "NodeChecksTests", dependencies: ["LinuxKernel", "NodeChecks", "Wire"], swiftSettings: strict),
    .testTarget(name: "LabTests", dependencies: ["Lab"], swiftSettings: strict),
    .testTarget(
      name: "IntegrationTests", dependencies: ["ControlProtocol", "Lab", "Wire", "LinuxKernel"], swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6]
)
