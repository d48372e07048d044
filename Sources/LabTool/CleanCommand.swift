// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Lab
import LinuxKernel

/// `lab clean`
struct CleanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "clean", abstract: "Remove what runs of the lab left whose process is dead.")

  func run() throws {
    try LabRun.requireRoot()
    let removed = LabRun.removeLeftovers()
    Console.line(removed.isEmpty ? "nothing to remove" : "removed \(removed.joined(separator: ", "))")
  }
}

/// `lab up`
struct UpCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "up", abstract: "Start a cluster, say how to reach it, and wait for Ctrl-C.")

  @OptionGroup var shape: ShapeOptions

  func run() throws {
    try LabRun.requireRoot()
    try Interruption.watch()
    let cluster = try Cluster.start(try shape.plan(), site: shape.site)
    Console.line("files and logs: \(cluster.run.folder)")
    Console.line("clients: nsenter --net=\(cluster.client.path) curl http://\(cluster.endpoints[0])/ready.txt")
    for node in cluster.nodes {
      Console.line("\(node.name): \(node.address.ipv4), nsenter --net=\(node.namespace.path)")
    }
    // The thread for signals ends the process.
    WorkerThread(name: "forever") {
      guard var epoll = try? Epoll(capacity: 1) else { return }
      while true { _ = epoll.wait(until: nil) }
    }.join()
    withExtendedLifetime(cluster) {}
  }
}
