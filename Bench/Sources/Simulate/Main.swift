// SPDX-License-Identifier: Apache-2.0

import DispatcherCore
import Foundation
import Simulator

/// `simulate [--cache MB] [--output DIRECTORY] [--nodes 1,2,4] [--passes N] [TRACE...]`: throughput, miss ratio and idle time of every
/// policy against the number of nodes, for each trace (`.tsv` access logs, object logs, either compressed by xz) or for a
/// generated workload when none is given. The last line is one JSON object.
@main
struct Main {
  static func main() throws {
    let options = try Options(Array(CommandLine.arguments.dropFirst()))
    var workloads = try options.traces.map { try TraceFile.read($0) }
    if workloads.isEmpty {
      var shape = Workload.Shape()
      workloads.append(.generated(name: "zipf", shape, seed: 1))
      shape.flashCrowd = 0.5
      workloads.append(.generated(name: "zipf-flash-crowd", shape, seed: 1))
    }
    var summary: [String] = []
    for workload in workloads {
      let sweep = Sweep(workload, options)
      sweep.printTable()
      try sweep.writePlots(to: options.output)
      summary.append("\"\(workload.name)\": \(sweep.summary)")
    }
    print("{\(summary.joined(separator: ", "))}")
  }
}

/// The command line.
struct Options {
  /// Nil: a 32nd of each trace's footprint, as with the IBM trace and the caches of the ASPLOS 1998 paper.
  var cacheMegabytes: Int?
  var nodes = [1, 2, 4, 8, 12, 16]
  /// How often a trace runs; the first time is not measured. A trace of some ten thousand requests takes a cluster of 16 a few
  /// seconds, in which what is open at the beginning and at the end weighs as much as the differences between policies.
  var passes = 5
  var output: String?
  var traces: [String] = []

  init(_ arguments: [String]) throws {
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      switch argument {
      case "--cache": cacheMegabytes = try Options.number(rest.popFirst(), argument)
      case "--passes": passes = try Options.number(rest.popFirst(), argument)
      case "--output": output = rest.popFirst()
      case "--nodes":
        nodes = try (rest.popFirst() ?? "").split(separator: ",").map { try Options.number(String($0), argument) }
      default: traces.append(argument)
      }
    }
  }

  private static func number(_ text: String?, _ option: String) throws -> Int {
    guard let text, let number = Int(text), (1...64).contains(number) else {
      throw SimulateError("\(option) needs a number from 1 to 64")
    }
    return number
  }
}

struct SimulateError: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}
