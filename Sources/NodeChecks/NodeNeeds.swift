// SPDX-License-Identifier: Apache-2.0

public import LinuxKernel

/// What a node is to be, as far as its requirements depend on it.
public struct NodeNeeds: Sendable, Hashable {
  public struct BackEnd: Sendable, Hashable {
    public var maximumConnections: UInt32
    /// Distributors on other networks may send through tunnels.
    public var acceptsTunnels: Bool
    /// Serving directly is tried.
    public var servesDirectly: Bool
    /// Serving directly is a condition.
    public var mustServeDirectly: Bool

    public init(
      maximumConnections: UInt32, acceptsTunnels: Bool, servesDirectly: Bool, mustServeDirectly: Bool
    ) {
      self.maximumConnections = maximumConnections
      self.acceptsTunnels = acceptsTunnels
      self.servesDirectly = servesDirectly
      self.mustServeDirectly = mustServeDirectly
    }
  }

  public struct Distributor: Sendable, Hashable {
    /// Serves addresses of these families.
    public var servesIPv4: Bool
    public var servesIPv6: Bool

    public init(servesIPv4: Bool, servesIPv6: Bool) {
      self.servesIPv4 = servesIPv4
      self.servesIPv6 = servesIPv6
    }
  }

  public struct Dispatcher: Sendable, Hashable {
    public var controlPort: UInt16
    public init(controlPort: UInt16) { self.controlPort = controlPort }
  }

  public var dispatcher: Dispatcher?
  public var backEnd: BackEnd?
  public var distributor: Distributor?

  public init(dispatcher: Dispatcher? = nil, backEnd: BackEnd? = nil, distributor: Distributor? = nil) {
    self.dispatcher = dispatcher
    self.backEnd = backEnd
    self.distributor = distributor
  }
}

/// What the environment gives this process.
public struct EnvironmentFacts: Sendable, Hashable {
  /// Effective ones.
  public var capabilities: ProcessCapabilities
  public var kernelRelease: String
  public var descriptors: DescriptorLimit
  /// Programs of `EnvironmentChecks.programs` that were found.
  public var programs: Set<String>

  public init(
    capabilities: ProcessCapabilities, kernelRelease: String, descriptors: DescriptorLimit, programs: Set<String>
  ) {
    self.capabilities = capabilities
    self.kernelRelease = kernelRelease
    self.descriptors = descriptors
    self.programs = programs
  }

  public static func current() -> EnvironmentFacts {
    EnvironmentFacts(
      capabilities: .effective(), kernelRelease: HostFacts.kernelRelease(),
      descriptors: .current(), programs: Set(EnvironmentChecks.programs.filter { HostFacts.program($0) != nil }))
  }
}
