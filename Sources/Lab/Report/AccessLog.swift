// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LinuxKernel
public import Wire

/// What a web server wrote about one request.
public struct AccessRecord: Hashable, Sendable {
  /// Seconds since 1970, as precisely as the server logs.
  public var time: Double
  /// The peer as the server saw it.
  public var client: Endpoint
  public var method: String
  public var path: String
  public var status: Int

  public init(time: Double, client: Endpoint, method: String, path: String, status: Int) {
    self.time = time
    self.client = client
    self.method = method
    self.path = path
    self.status = status
  }

  /// Reads a server's whole access log; lines that are not complete yet are skipped.
  public static func read(_ web: WebServerInstance) throws(LabError) -> [AccessRecord] {
    let bytes: [UInt8]
    do {
      bytes = try FileAccess.read(web.accessLog)
    } catch {
      throw LabError("cannot read the access log of \(web.kind): \(error)")
    }
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    return lines.compactMap { web.kind == .caddy ? caddy($0) : plain($0, web.kind) }
  }

  /// `time address port method path status bytes`.
  private static func plain(_ line: Substring, _ kind: WebServer) -> AccessRecord? {
    let fields = line.split(separator: " ")
    guard fields.count == 7, let time = Double(fields[0]), let address = address(fields[1]),
      let port = UInt16(fields[2]), let status = Int(fields[5])
    else { return nil }
    return AccessRecord(
      time: kind == .nginx ? time : time / 1e6, client: Endpoint(address, port), method: String(fields[3]),
      path: String(fields[4]), status: status)
  }

  private struct CaddyLine: Decodable {
    struct Request: Decodable {
      var remoteIp: String
      var remotePort: String
      var method: String
      var uri: String
    }
    var ts: Double
    var request: Request
    var status: Int
  }

  private static func caddy(_ line: Substring) -> AccessRecord? {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    guard let parsed = try? decoder.decode(CaddyLine.self, from: Data(line.utf8)),
      let address = address(parsed.request.remoteIp[...]), let port = UInt16(parsed.request.remotePort)
    else { return nil }
    return AccessRecord(
      time: parsed.ts, client: Endpoint(address, port), method: parsed.request.method, path: parsed.request.uri,
      status: parsed.status)
  }

  private static func address(_ text: Substring) -> IPAddress? {
    guard let address = IPAddress(String(text)) else { return nil }
    return address
  }
}

extension Cluster {
  /// All servers' logs by node.
  public func accessRecords() throws(LabError) -> [String: [AccessRecord]] {
    var all: [String: [AccessRecord]] = [:]
    for node in nodes {
      if let web = node.web { all[node.name] = try AccessRecord.read(web) }
    }
    return all
  }
}
