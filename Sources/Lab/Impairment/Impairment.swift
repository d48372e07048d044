// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import LinuxKernel

/// What a bad network does to TCP segments, by seed: the same seed and the same segments give the same fate.
public struct Impairment: Sendable, Hashable, Codable {
  /// Where in a connection's life a segment belongs, as far as one can tell from the segment and its direction.
  public enum Phase: String, Sendable, CaseIterable, Codable {
    case syn
    case synAck
    /// An ACK without data from the client before any response byte went by.
    case handshakeAck
    /// Bytes from the client.
    case request
    /// Bytes from the server.
    case response
    /// An ACK without data, from either side.
    case acknowledgement
    case fin
    case reset
  }

  public enum Direction: String, Sendable, CaseIterable, Codable {
    case fromClient
    case toClient
  }

  /// Probabilities from 0 to 1 for what matches; the first rule that matches decides.
  public struct Rule: Sendable, Hashable, Codable {
    /// Nil: both.
    public var direction: Direction?
    /// Empty: all.
    public var phases: Set<Phase> = []
    public var drop = 0.0
    public var duplicate = 0.0
    /// The segment is sent after `reorderedBy` milliseconds, later ones overtake it.
    public var reorder = 0.0
    public var reorderedBy = 2.0
    /// Milliseconds added to every segment.
    public var delay = 0.0
    /// Only the first so many matching segments of each connection are touched; nil: all.
    public var onlyFirst: Int?

    public init() {}
  }

  public var seed: UInt64
  public var rules: [Rule]

  public init(seed: UInt64, rules: [Rule]) {
    self.seed = seed
    self.rules = rules
  }

  /// The same loss, duplication and reordering for every segment.
  public static func everywhere(
    seed: UInt64, drop: Double = 0, duplicate: Double = 0, reorder: Double = 0
  ) -> Impairment {
    var rule = Rule()
    rule.drop = drop
    rule.duplicate = duplicate
    rule.reorder = reorder
    return Impairment(seed: seed, rules: [rule])
  }

  /// Drops the first `count` segments of one phase on each connection.
  public static func droppingFirst(_ count: Int = 1, _ phase: Phase, seed: UInt64 = 1) -> Impairment {
    var rule = Rule()
    rule.phases = [phase]
    rule.drop = 1
    rule.onlyFirst = count
    return Impairment(seed: seed, rules: [rule])
  }
}

extension Impairment {
  func json() throws(LabError) -> String {
    do {
      return String(decoding: try JSONEncoder().encode(self), as: UTF8.self)
    } catch {
      throw LabError("cannot write the impairment as JSON: \(error)")
    }
  }

  public static func load(_ path: String) throws(LabError) -> Impairment {
    do {
      return try JSONDecoder().decode(Impairment.self, from: Data(try FileAccess.read(path)))
    } catch {
      throw LabError("cannot read the impairment from \(path): \(error)")
    }
  }
}
