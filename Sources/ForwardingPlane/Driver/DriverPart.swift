// SPDX-License-Identifier: Apache-2.0

import LinuxKernel

/// The part that the driver has in forwarding: the program there, or why there is none.
///
/// Calls other than `counters` and `choice` are for threads in the interface's network namespace.
public struct DriverPart: Sendable {
  /// Where packets of handed-off connections are forwarded.
  public enum Choice: Hashable, Sendable {
    case driver
    /// At tc, as configured.
    case trafficControl
    /// At tc, because of what stands against the driver.
    case trafficControlBecause(DriverObstacle)
  }

  public let choice: Choice
  let plane: DriverPlane?

  /// Settles who is at the driver before the program at tc is attached; throws only when `hook` allows nothing else.
  ///
  /// - Parameter adoption: of a predecessor's flow table; its program at the driver forwards by that.
  static func attach(
    at hook: DriverHook, _ maps: PlaneMaps, _ wanted: ForwardingHook, adopting adoption: ForwardingPlane.Adoption
  ) throws(ForwardingPlaneError) -> DriverPart {
    // It would go on by a table that nobody looks after any more.
    if case .replaced(.notPermitted) = adoption, (try? hook.attachedProgram()) != nil {
      throw .noDriverHook(interface: hook.interface, .hidden)
    }
    if wanted == .tc || !adoption.keepsTable { DriverPlane.removeLeftover(hook) }
    if wanted == .tc { return DriverPart(choice: .trafficControl, plane: nil) }
    do throws(DriverObstacle) {
      return DriverPart(
        choice: .driver, plane: try DriverPlane.attach(at: hook, maps: maps, isWanted: wanted == .xdp))
    } catch {
      if wanted == .xdp { throw .noDriverHook(interface: hook.interface, error) }
      DriverPlane.removeLeftover(hook)
      return DriverPart(choice: .trafficControlBecause(error), plane: nil)
    }
  }

  /// What stands against forwarding at the driver of an interface, nil when nothing does; changes nothing.
  public static func obstacle(
    interface: String, _ wanted: ForwardingHook
  ) throws(ForwardingPlaneError) -> DriverObstacle? {
    let hook = DriverHook(try TrafficHook(interface: interface))
    do throws(DriverObstacle) {
      return try DriverPlane.facts(hook).obstacle(isWanted: wanted == .xdp)
    } catch {
      return error
    }
  }

  /// Loads the program at the driver without attaching it.
  public static func tryLoading() throws(DriverObstacle) { try DriverPlane.tryLoading() }

  func detach() { plane?.detach() }

  /// Follows changes of the interface; to be called about once a second.
  ///
  /// - Returns: whether frames are forwarded at the driver now.
  @discardableResult
  public func adapt() -> Bool { plane?.adapt() ?? false }

  /// What the program at the driver has done with the frames that it saw; zero without one.
  public func counters() -> DriverCounters { plane?.counters() ?? .none }
}

extension DriverPart.Choice: CustomStringConvertible {
  public var description: String {
    switch self {
    case .driver: "at the driver"
    case .trafficControl: "at tc"
    case .trafficControlBecause(let obstacle): "at tc: \(obstacle)"
    }
  }
}
