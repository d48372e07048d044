// SPDX-License-Identifier: Apache-2.0

import Lab
import LinuxKernel
import Testing

/// What a test talks to. Every test runs against plain servers first: that proves that what it expects is right.
struct Stage: Hashable, Sendable, CustomTestStringConvertible {
  var front: ClusterPlan.Front
  var placement: ClusterPlan.Placement = .separate
  var distributors = 1
  var servers: [WebServer]
  var impairment: Impairment?
  var offloads = true

  var testDescription: String {
    var parts = [front.rawValue, servers.map(\.rawValue).joined(separator: "+")]
    if front == .handoff { parts.insert("\(placement.rawValue) x\(distributors)", at: 1) }
    if !offloads { parts.append("no offloads") }
    return parts.joined(separator: " ")
  }

  var plan: ClusterPlan {
    var plan = ClusterPlan(front: front, placement: placement, distributors: distributors, servers: servers)
    plan.impairment = impairment
    plan.offloads = offloads
    plan.serve = ServeChoice.serve
    return plan
  }

  /// `HANDOFF_FRONTS=direct,haproxy` restricts what is tested.
  static let fronts: [ClusterPlan.Front] = {
    guard let names = ProcessEnvironment.values["HANDOFF_FRONTS"] else { return [.direct, .handoff] }
    return names.split(separator: ",").compactMap { ClusterPlan.Front(rawValue: String($0)) }
  }()

  /// One server behind each front: every server, so that a test tells which one it does not work with.
  static let eachServer: [Stage] = fronts.flatMap { front in
    WebServer.allCases.map { Stage(front: front, servers: [$0]) }
  }

  /// Each front with nginx only: where the server does not matter.
  static let eachFront: [Stage] = fronts.map { Stage(front: $0, servers: [.nginx]) }

  /// Several distributors, all servers, and roles together on one machine in every way.
  static let shapes: [Stage] =
    fronts.filter { $0 != .handoff }.map { Stage(front: $0, distributors: 2, servers: WebServer.allCases) }
    + (fronts.contains(.handoff)
      ? ClusterPlan.Placement.allCases.map {
        Stage(front: .handoff, placement: $0, distributors: 2, servers: WebServer.allCases)
      } : [])
}
