// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Wire

/// curl as the client of transfers whose content is known.
struct Transfers {
  let cluster: Cluster
  let endpoint: Endpoint

  func url(_ page: Site.Page) -> String { "http://\(endpoint)\(page.path)" }

  /// Gets pages one after the other on one connection; returns what is wrong.
  func get(_ pages: Site.Page...) throws -> [String] {
    let result = try curl(["-w", "%{stderr}%{num_connects}"] + pages.map(url))
    let wanted = pages.flatMap { TestSite.bytes(of: $0) }
    return faults(result, "GET \(pages.map(\.path))", result.standardOutput == wanted)
  }

  /// Uploads bytes; the application tells their number and digest.
  func post(_ bytes: [UInt8], _ options: [String] = ["-H", "Expect:"]) throws -> [String] {
    let digest = try Command.run(["sha256sum"], input: bytes).output.prefix(64)
    let result = try curl(options + ["--data-binary", "@-", "http://\(endpoint)/app/digest"], input: bytes)
    return faults(result, "POST of \(bytes.count) bytes", result.output == "\(bytes.count) \(digest)\n")
  }

  /// An answer that the application gives after 1.5 s.
  func slow() throws -> [String] {
    let result = try curl(["http://\(endpoint)/app/slow"])
    return faults(result, "GET /app/slow", result.output == "hello\n")
  }

  private func curl(_ arguments: [String], input: [UInt8] = []) throws -> CommandResult {
    try cluster.client.run(["curl", "-sS", "-m", "30"] + arguments, input: input)
  }

  private func faults(_ result: CommandResult, _ what: String, _ isRight: Bool) -> [String] {
    if result.isSuccess && isRight { return [] }
    return ["\(what) at \(endpoint): \(result.status), \(result.standardOutput.count) bytes, \(result.errorOutput)"]
  }
}
