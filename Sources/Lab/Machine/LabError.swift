// SPDX-License-Identifier: Apache-2.0

/// Something of the lab did not work: what was tried, on what, and what was seen.
public struct LabError: Error, Hashable, Sendable, CustomStringConvertible {
  public var description: String

  public init(_ description: String) { self.description = description }
}
