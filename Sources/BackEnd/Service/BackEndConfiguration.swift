// SPDX-License-Identifier: Apache-2.0

public import BackEndCore
import Glibc
public import Wire

/// What a server node's agent must know.
public struct BackEndConfiguration: Sendable {
  /// Unique in the cluster.
  public var nodeName: String
  /// Where distributors reach the agent; must be an address of this node and none of the served ones.
  public var internalAddress: IPAddress
  /// TCP port of the agent for handoffs.
  public var handoffPort: UInt16
  public var dispatcher: Endpoint
  /// TCP port of the node's web server (`-bp`).
  public var serverPort: UInt16
  /// Where the web server listens for connections of IPv4 and IPv6 clients; addresses of the loopback interface.
  public var serverAddressIPv4: IPAddress
  public var serverAddressIPv6: IPAddress
  /// Capacity relative to other nodes; 100 is an average node.
  public var weight: UInt16
  /// Names of the pools that the node is in, for rules at the dispatcher; without any it serves only what no rule sends
  /// to a pool.
  public var pools: [String]
  /// The most connections at a time. Relayed ones take two descriptors each: without direct serving it is lowered to what
  /// the descriptor limit allows.
  public var maximumConnections: UInt32
  public var serve: ServeMode
  /// Event loops; 0 is one for each core where all connections are relayed, else one for four: of what the web server
  /// takes itself they only count beginning and end.
  public var workers: Int

  var eventLoops: Int {
    if workers > 0 { return workers }
    let cores = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    return serve == .repair ? cores : (cores + 3) / 4
  }
  /// Distributors on other networks may send clients' packets through tunnels.
  public var acceptsTunnels: Bool
  /// The kernel takes handoffs that come by packet, at the UDP port with the number of `handoffPort`, where it serves
  /// directly.
  public var acceptsPackets: Bool
  /// Time for the web server to accept a connection, in nanoseconds.
  public var connectTimeout: UInt64
  /// A relayed connection on which nothing moves for this long is ended with a reset, in nanoseconds.
  public var idleTimeout: UInt64
  /// A client that does not close after the server did is waited for this long, in nanoseconds (like the kernel's
  /// tcp_fin_timeout).
  public var halfClosedTimeout: UInt64
  public var holdPolicy: HoldPolicy
  /// Table and priority of the policy rule that brings the web server's answers to the agent.
  public var routingTable: UInt32
  public var rulePriority: UInt32
  /// Where found kernel settings are kept until they are put back.
  public var stateDirectory: String

  public init(
    nodeName: String, internalAddress: IPAddress, dispatcher: Endpoint, serverPort: UInt16,
    handoffPort: UInt16 = 7801, weight: UInt16 = 100, pools: [String] = [], maximumConnections: UInt32 = 100_000,
    workers: Int = 0
  ) {
    self.nodeName = nodeName
    self.internalAddress = internalAddress
    self.handoffPort = handoffPort
    self.dispatcher = dispatcher
    self.serverPort = serverPort
    serverAddressIPv4 = IPAddress(ipv4: 0x7f00_0001)
    serverAddressIPv6 = IPAddress(high: 0, low: 1)
    self.weight = weight
    self.pools = pools
    self.maximumConnections = maximumConnections
    self.workers = workers
    serve = .auto
    acceptsTunnels = true
    acceptsPackets = true
    connectTimeout = 1_500_000_000
    idleTimeout = 3_600_000_000_000
    halfClosedTimeout = 60_000_000_000
    holdPolicy = HoldPolicy()
    routingTable = 26_728
    rulePriority = 26_728
    stateDirectory = "/run/handoff"
  }

  /// The web server's endpoint for connections of one address family.
  func server(isIPv4: Bool) -> Endpoint { Endpoint(isIPv4 ? serverAddressIPv4 : serverAddressIPv6, serverPort) }
}
