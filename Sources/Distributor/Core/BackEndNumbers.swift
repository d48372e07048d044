// SPDX-License-Identifier: Apache-2.0

public import ControlProtocol

/// The numbers of back-ends at one distributor, the same for all its workers.
///
/// Those of the dispatcher (`BackEndID`) last as long as its process: a successor gives them anew, in the order in which
/// nodes come back. Connections, flow entries and leases here go by number and outlive it. So each name has a number of this
/// distributor's own.
public struct BackEndNumbers: Sendable {
  /// By number.
  private var names: [String?] = Array(repeating: nil, count: LeaseTable.backEnds)

  public init() {}

  /// Numbers for the nodes of a view, in its order. A new name gets the dispatcher's number when it is free; when none is
  /// free, one whose name the view does not have. Nil for nodes beyond `LeaseTable.backEnds`.
  public mutating func assign(_ view: [BackEndDescription]) -> [UInt16?] {
    let present = Set(view.map(\.name))
    return view.map { node in
      if let known = names.firstIndex(of: node.name) { return UInt16(known) }
      let wanted = Int(node.id.rawValue)
      let free =
        wanted < names.count && names[wanted] == nil
        ? wanted
        : names.firstIndex(of: nil) ?? names.firstIndex { name in name.map { !present.contains($0) } ?? true }
      guard let free else { return nil }
      names[free] = node.name
      return UInt16(free)
    }
  }
}

/// What a worker says to its dispatcher, and hears from it, in the numbers of each.
public struct BackEndTranslation: Sendable {
  /// By the dispatcher's number.
  private var own: [UInt16?] = Array(repeating: nil, count: LeaseTable.backEnds)
  /// By this distributor's number.
  private var theirs: [BackEndID?] = Array(repeating: nil, count: LeaseTable.backEnds)

  public init() {}

  /// Learns the dispatcher's numbers from a view, and returns the view in this distributor's.
  ///
  /// - Parameter numbers: as `BackEndNumbers.assign` gave them. Nodes without one are left out.
  public mutating func learn(_ view: ClusterView, _ numbers: [UInt16?]) -> ClusterView {
    self = BackEndTranslation()
    var translated = view
    translated.backEnds.removeAll(keepingCapacity: true)
    for (node, number) in zip(view.backEnds, numbers) {
      guard let number, Int(node.id.rawValue) < own.count else { continue }
      own[Int(node.id.rawValue)] = number
      theirs[Int(number)] = node.id
      var node = node
      node.id = BackEndID(number)
      translated.backEnds.append(node)
    }
    return translated
  }

  /// This distributor's number, nil for what the view does not have.
  public func number(of id: BackEndID) -> UInt16? {
    Int(id.rawValue) < own.count ? own[Int(id.rawValue)] : nil
  }

  /// The dispatcher's number, nil for what its view does not have.
  public func id(of number: UInt16) -> BackEndID? {
    Int(number) < theirs.count ? theirs[Int(number)] : nil
  }

  /// A question in the dispatcher's numbers.
  public func outgoing(_ request: DecisionRequest) -> DecisionRequest {
    guard let excluded = request.excluded else { return request }
    var request = request
    // Excluding nothing is right for a node that the dispatcher does not have.
    request.excluded = id(of: excluded.rawValue)
    return request
  }

  /// An account of credits in the dispatcher's numbers, nil for a node that it does not have.
  public func outgoing(_ account: LeaseAccount) -> LeaseAccount? {
    guard let id = id(of: account.backEnd.rawValue) else { return nil }
    var account = account
    account.backEnd = id
    return account
  }
}
