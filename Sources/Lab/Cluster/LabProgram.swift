// SPDX-License-Identifier: Apache-2.0

/// Something that the lab can run at a node in the place of its own: another balancer in front, another web server behind.
public protocol LabProgram: Sendable {
  /// Writes what it needs into the node's folder and starts what runs there, by `Cluster.start`.
  func start(at node: ClusterNode, of cluster: Cluster) throws(LabError)
}
