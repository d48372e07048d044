// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LinuxKernel

/// wrk in a cluster's client namespace: as many processes for every system, spread over what clients may dial.
struct LoadGenerator {
  /// What one measurement gave.
  struct Result: Sendable {
    var requests = 0
    var errors = 0
    var seconds = 0.0
    /// Medians over the processes, in microseconds.
    var latencyP50 = 0.0
    var latencyP99 = 0.0
  }

  static let processes = 4

  let cluster: Cluster
  let workload: LoadWorkload
  let seconds: Double

  func run(number: Int) throws(LabError) -> Result {
    let folder = "\(cluster.run.folder)/load-\(number)"
    try Folder.create(folder)
    try Cluster.write(script, to: "\(folder)/requests.lua")
    let endpoints = cluster.endpoints
    var processes: [LabProcess] = []
    for index in 0..<LoadGenerator.processes {
      let endpoint = endpoints[index % endpoints.count]
      processes.append(
        try cluster.client.start(
          name: "wrk",
          [
            "wrk", "-t1", "-c\(max(1, workload.connections / LoadGenerator.processes))", "-d\(Int(seconds))s",
            "--timeout", "10s", "-s", "\(folder)/requests.lua", "http://\(endpoint)/",
          ], logFile: "\(folder)/wrk-\(index).log"))
    }
    var result = Result()
    var medians: [Double] = []
    var tails: [Double] = []
    for process in processes {
      guard case .exited(0)? = process.wait(seconds: seconds + 30) else {
        throw LabError("wrk did not end well: \(process.log(last: 500))")
      }
      let summary = try Summary.read(process.log())
      result.requests += summary.requests
      result.errors += summary.errors
      result.seconds = max(result.seconds, summary.seconds)
      medians.append(summary.p50)
      tails.append(summary.p99)
    }
    result.latencyP50 = medians.sorted()[medians.count / 2]
    result.latencyP99 = tails.sorted()[tails.count / 2]
    return result
  }

  /// Requests go round the workload's pages from a random one on; the summary is one line of JSON.
  private var script: String {
    """
    local pages = \(workload.pages)
    local page = math.random(pages)
    function init(args)
      math.randomseed(os.time() + tonumber(tostring({}):match("0x(%x+)"), 16) % 100000)
      page = math.random(pages)
      wrk.headers["Host"] = "bench"
      \(workload.isKeptAlive ? "" : "wrk.headers[\"Connection\"] = \"close\"")
    end
    function request()
      page = page % pages + 1
      return wrk.format("GET", "\(workload.folder)/" .. page .. ".bin")
    end
    function done(summary, latency, requests)
      local e = summary.errors
      io.write(string.format('\\n{"requests":%d,"errors":%d,"seconds":%f,"p50":%f,"p99":%f}\\n', summary.requests,
        e.connect + e.read + e.write + e.status + e.timeout, summary.duration / 1e6, latency:percentile(50),
        latency:percentile(99)))
    end
    """
  }

  private struct Summary: Decodable {
    var requests: Int
    var errors: Int
    var seconds: Double
    var p50: Double
    var p99: Double

    static func read(_ log: String) throws(LabError) -> Summary {
      guard let line = log.split(separator: "\n").last(where: { $0.hasPrefix("{") }),
        let summary = try? JSONDecoder().decode(Summary.self, from: Data(line.utf8))
      else { throw LabError("wrk gave no summary: \(log.suffix(300))") }
      return summary
    }
  }
}
