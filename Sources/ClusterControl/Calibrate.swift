// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import LinuxKernel
import Wire

/// `clusterctl calibrate`: measures a web server and prints the thresholds of LARD for it.
struct Calibrate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures how a web server's delay grows with its load and prints --t-low and --t-high for it.",
    discussion: """
      Opens 1, 2, 4, ... connections at a time to the server, each with one request, and measures throughput and delay \
      of each level. --t-low is the fewest connections that bring 90 % of the greatest throughput; --t-high is what the \
      server serves within --delay on top of that. Give paths that your clients ask for: with --paths FILE, one in a \
      line. The server is loaded to its limit: do this before it is in service.
      """)

  @Argument(
    help: ArgumentHelp("The web server itself, not a served address.", valueName: "address:port"),
    transform: { text in
      guard let endpoint = Endpoint(text) else {
        throw ValidationError("'\(text)' is no ADDRESS:PORT. Give one such as 10.0.0.2:8080 or [::1]:8080.")
      }
      return endpoint
    })
  var server: Endpoint

  @Option(help: ArgumentHelp("Path to ask for; may be repeated.", valueName: "path"))
  var path: [String] = []

  @Option(help: ArgumentHelp("File of paths, one in a line.", valueName: "file"))
  var paths: String?

  @Option(help: ArgumentHelp("Value of the Host field (default: the address).", valueName: "name"))
  var host: String?

  @Option(help: ArgumentHelp("Most connections at a time.", valueName: "n"))
  var connections = 512

  @Option(help: ArgumentHelp("Seconds for each level.", valueName: "seconds"))
  var seconds = 2.0

  @Option(help: ArgumentHelp("Milliseconds by which the busiest node may be slower than another.", valueName: "ms"))
  var delay = 50.0

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    guard (2...20_000).contains(connections) else { throw ValidationError("--connections: give 2 to 20000.") }
    guard (0.05...600).contains(seconds) else { throw ValidationError("--seconds: give 0.05 to 600.") }
    guard (0.1...60_000).contains(delay) else { throw ValidationError("--delay: give 0.1 to 60000 milliseconds.") }
    if let wrong = path.first(where: { !$0.hasPrefix("/") || $0.contains(where: \.isWhitespace) }) {
      throw ValidationError("--path: '\(wrong)' is no path. Give one that begins with '/', without blanks.")
    }
  }

  func run() throws {
    _ = try? DescriptorLimit.raise()
    var targets = path
    if let paths {
      do {
        let lines = try SystemFile.text(of: paths).split(whereSeparator: \.isNewline)
        targets += lines.compactMap { Why.parts(of: String($0))?.target }
      } catch {
        throw DispatcherQuery.Problem("--paths: '\(paths)' cannot be read (\(error))")
      }
    }
    if targets.isEmpty { targets = ["/"] }
    let curve = try measure(targets)
    guard let thresholds = curve.thresholds(acceptableDelay: delay) else {
      throw DispatcherQuery.Problem(
        "\(server) answered no request with success: check address, port and paths (\(targets.prefix(3).joined(separator: ", ")))"
      )
    }
    StandardStream.output.write(json ? object(curve, thresholds) : conclusion(thresholds))
  }

  private func measure(_ targets: [String]) throws -> DelayCurve {
    var curve = DelayCurve(levels: [])
    do throws(SystemError) {
      var probe = try LoadProbe(server: server, host: host ?? "\(server)", paths: targets)
      var level = 1
      if !json { StandardStream.output.write("CONNECTIONS  REQUESTS/S  MEAN MS   P99 MS  FAILED\n") }
      while level <= connections {
        let result = try probe.measure(connections: level, nanoseconds: UInt64(seconds * 1e9))
        curve.levels.append(result)
        if !json {
          StandardStream.output.write(
            String(
              format: "%11d  %10.0f  %7.2f  %7.2f  %6d\n", result.connections, result.throughput, result.meanDelay,
              result.delay99, result.failures))
        }
        // Levels of 1, 2, 3, 4, 6, 8, 12, 16, ...: fine enough for a threshold, few enough for a minute.
        level = level < 3 ? level + 1 : level.nonzeroBitCount == 1 ? level * 3 / 2 : level / 3 * 4
      }
    } catch {
      throw DispatcherQuery.Problem("\(server): \(error)")
    }
    return curve
  }

  private func conclusion(_ thresholds: DelayCurve.Thresholds) -> String {
    var text = String(
      format: "\nThe server reaches %.0f requests/s. Within %.0f ms it serves %d.\n", thresholds.capacity, delay,
      thresholds.high - thresholds.low)
    if thresholds.isOpenEnded { text += "It was not at its limit yet: try again with more --connections.\n" }
    return text + "\n--t-low \(thresholds.low) --t-high \(thresholds.high)\n"
  }

  private func object(_ curve: DelayCurve, _ thresholds: DelayCurve.Thresholds) -> String {
    let levels = curve.levels.map { level in
      String(
        format: "{\"connections\":%d,\"requests_per_second\":%.1f,\"mean_ms\":%.3f,\"p99_ms\":%.3f,\"failed\":%d}",
        level.connections, level.throughput, level.meanDelay, level.delay99, level.failures)
    }
    return "{\"t_low\":\(thresholds.low),\"t_high\":\(thresholds.high),"
      + String(format: "\"requests_per_second\":%.1f,", thresholds.capacity)
      + "\"limit_reached\":\(!thresholds.isOpenEnded),\"levels\":[\(levels.joined(separator: ","))]}\n"
  }
}
