// SPDX-License-Identifier: Apache-2.0

/// What a cluster shall consist of.
public struct ClusterPlan: Sendable {
  /// What stands between the clients and the web servers.
  public enum Front: String, Sendable, CaseIterable, Codable {
    /// Dispatcher and distributors; connections are handed over.
    case handoff
    /// Nothing: clients dial the web servers themselves.
    case direct
    /// HAProxy instead of every distributor.
    case haproxy
  }

  /// One machine: a namespace with what runs in it.
  public struct Node: Sendable {
    /// At most 12 letters and digits.
    public var name: String
    public var isDispatcher: Bool
    public var isDistributor: Bool
    public var server: WebServer?
    /// Far only in a plan with a router, and only without the other two roles.
    public var network = LabNetwork.near
    /// Options for this node's cluster_startup, after those of the plan.
    public var options: [String] = []

    public init(_ name: String, dispatcher: Bool = false, distributor: Bool = false, server: WebServer? = nil) {
      self.name = name
      isDispatcher = dispatcher
      isDistributor = distributor
      self.server = server
    }
  }

  /// Which roles share a machine.
  public enum Placement: String, Sendable, CaseIterable, Codable {
    /// Every role on a machine of its own.
    case separate
    /// Distributors on the first server nodes.
    case coLocated
    /// The dispatcher and all distributors on server nodes.
    case together
  }

  public var front: Front = .handoff
  public var nodes: [Node]
  public var clientAddresses = 4
  /// Where clients connect.
  public var frontPort: UInt16 = 80
  /// Where the web servers listen.
  public var serverPort: UInt16 = 8080
  public var policy = "lard"
  /// Options for the cluster_startup of the dispatcher.
  public var dispatcherOptions: [String] = []
  /// How server nodes serve: auto, direct or repair.
  public var serve = "auto"
  /// Options for every cluster_startup, after those that the lab gives.
  public var extraOptions: [String] = []
  /// Options for the cluster_startup of distributors.
  public var distributorOptions: [String] = []
  public var logLevel = "info"
  /// Puts clients into a network of their own, and server nodes where their network says; nil: all are neighbours.
  public var router: LabRouter?
  /// What happens to frames between clients and bridge; nil: no wire at all.
  public var impairment: Impairment?
  /// False: no segmentation or checksum offload at the clients and server nodes, so that captures show what a real
  /// wire would carry.
  public var offloads = true
  /// The network's settings are such that distributors can forward at their driver (`--forwarding-hook xdp`).
  public var forwardsAtDriver = false

  /// Stands at the fronts' nodes instead of HAProxy as the lab configures it; only with `Front.haproxy`.
  public var frontProgram: (any LabProgram)?
  /// Runs at the server nodes instead of their web server.
  public var serverProgram: (any LabProgram)?
  /// True: nodes talk to each other by IPv6.
  public var isIPv6Inside = false
  /// False: clients of this cluster use IPv4 only.
  public var servesIPv6 = true
  /// False: no application runs behind the web servers' `/app/`.
  public var hasApplication = true
  /// A folder that all web servers serve, written by somebody else; nil: the lab writes the site below its own folder.
  public var documents: String?

  public init(nodes: [Node]) { self.nodes = nodes }

  public init(
    front: Front = .handoff, placement: Placement = .separate, distributors: Int = 1, servers: [WebServer]
  ) {
    precondition(placement == .separate || distributors <= servers.count)
    self.front = front
    var nodes = servers.enumerated().map { Node("be\($0.offset + 1)", server: $0.element) }
    switch placement {
    case .separate:
      nodes += (1...max(1, distributors)).map { Node("fe\($0)", distributor: true) }
      if front == .handoff { nodes.append(Node("dispatcher", dispatcher: true)) }
    case .coLocated:
      for index in 0..<distributors { nodes[index].isDistributor = true }
      if front == .handoff { nodes.append(Node("dispatcher", dispatcher: true)) }
    case .together:
      for index in 0..<distributors { nodes[index].isDistributor = true }
      nodes[0].isDispatcher = front == .handoff
    }
    if front == .direct { nodes.removeAll { $0.server == nil } }
    self.nodes = nodes
  }
}
