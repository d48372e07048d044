// SPDX-License-Identifier: Apache-2.0

import Foundation
import PackagePlugin

/// Compiles every `BPF/*.bpf.c` of a target with the toolchain's own clang and embeds the object as a Swift file.
@main
struct CompileBPF: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
    let sources = target.directoryURL.appending(path: "BPF")
    let headers = context.package.directoryURL.appending(path: "Sources/CForwardingPlane/include")
    let embed = try context.tool(named: "BPFEmbed").url
    let clang = try context.tool(named: "clang").url
    let files = try FileManager.default.contentsOfDirectory(at: sources, includingPropertiesForKeys: nil)
      .sorted { $0.path < $1.path }
    let inputs =
      files + ((try? FileManager.default.contentsOfDirectory(at: headers, includingPropertiesForKeys: nil)) ?? [])
    return files.filter { $0.lastPathComponent.hasSuffix(".bpf.c") }.map { source in
      let name = source.lastPathComponent.replacingOccurrences(of: ".bpf.c", with: "")
      let output = context.pluginWorkDirectoryURL.appending(path: "\(name).bpf.swift")
      return .buildCommand(
        displayName: "Compiling BPF program \(name)",
        executable: embed,
        arguments: [clang.path, source.path, headers.path, name, output.path],
        inputFiles: inputs,
        outputFiles: [output])
    }
  }
}
