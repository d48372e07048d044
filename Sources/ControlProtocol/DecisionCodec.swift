// SPDX-License-Identifier: Apache-2.0

internal import Rules
internal import Wire

/// Fixed-size records of the two hot messages: a decision request and a decision. The dispatcher can read requests in place
/// and emit decisions one by one, with no array between.
public enum DecisionCodec {
  /// id 8, target 8, affinity key 8, affinity seed 8, affinity lifetime 4 (0: no affinity), pool 4, excluded 2 (0xffff:
  /// none), two zero bytes.
  public static let requestLength = 44
  /// id 8, outcome 1, one zero byte, back-end 2, lease: milliseconds 2 (0: no lease), credits 2, term 4.
  public static let decisionLength = 20
  /// target 8, pool 4, term 4, back-end 2, used 2, returned 2, two zero bytes.
  static let accountLength = 24
  static let creditLength = 8
  static let targetLeaseLength = 12

  static let noBackEnd: UInt16 = 0xffff

  /// How many requests a body of `.decisionRequests` holds.
  ///
  /// - Throws: `.truncated` when the last one is not whole, `.tooManyElements`.
  public static func requestCount(in body: Span<UInt8>) throws(ControlProtocolError) -> Int {
    try ListCodec.count(body, elementLength: requestLength)
  }

  /// The request at `index`, which is below `requestCount(in:)`.
  ///
  /// - Throws: `.invalidFlags`.
  public static func request(at index: Int, in body: Span<UInt8>) throws(ControlProtocolError) -> DecisionRequest {
    let start = index * requestLength
    let key = body.readUInt64(at: start + 16)
    let seed = body.readUInt64(at: start + 24)
    let lifetime = body.readUInt32(at: start + 32)
    let excluded = body.readUInt16(at: start + 40)
    guard body.readUInt16(at: start + 42) == 0, lifetime != 0 || key | seed == 0 else { throw .invalidFlags }
    let affinity = lifetime == 0 ? nil : Affinity(key: key, seed: seed, lifetime: lifetime)
    return DecisionRequest(
      id: body.readUInt64(at: start), target: body.readUInt64(at: start + 8),
      route: Route(pool: PoolID(rawValue: body.readUInt32(at: start + 36)), affinity: affinity),
      excluded: excluded == noBackEnd ? nil : BackEndID(excluded))
  }

  /// The decision at `index` of a body of `.decisions`.
  ///
  /// - Throws: `.invalidDecisionOutcome`, `.invalidFlags`.
  public static func decision(at index: Int, in body: Span<UInt8>) throws(ControlProtocolError) -> Decision {
    let start = index * decisionLength
    let backEnd = body.readUInt16(at: start + 10)
    guard body[start + 9] == 0 else { throw .invalidFlags }
    let lease = Lease(
      credits: body.readUInt16(at: start + 14), milliseconds: body.readUInt16(at: start + 12),
      term: body.readUInt32(at: start + 16))
    if lease.milliseconds == 0, lease.credits != 0 || lease.term != 0 { throw .invalidFlags }
    let outcome: Decision.Outcome
    switch body[start + 8] {
    case 1:
      return Decision(
        id: body.readUInt64(at: start), outcome: .assigned(BackEndID(backEnd)),
        lease: lease.milliseconds == 0 ? nil : lease)
    case 2: outcome = .noBackEnd
    case 3: outcome = .overloaded
    default: throw .invalidDecisionOutcome
    }
    guard backEnd == 0, lease.milliseconds == 0 else { throw .invalidFlags }
    return Decision(id: body.readUInt64(at: start), outcome: outcome)
  }

  /// The account at `index` of a body of `.leaseAccounts`.
  ///
  /// - Throws: `.invalidFlags`.
  static func account(at index: Int, in body: Span<UInt8>) throws(ControlProtocolError) -> LeaseAccount {
    let start = index * accountLength
    guard body.readUInt16(at: start + 22) == 0 else { throw .invalidFlags }
    return LeaseAccount(
      target: body.readUInt64(at: start), pool: PoolID(rawValue: body.readUInt32(at: start + 8)),
      backEnd: BackEndID(body.readUInt16(at: start + 16)), term: body.readUInt32(at: start + 12),
      used: body.readUInt16(at: start + 18), returned: body.readUInt16(at: start + 20))
  }

  /// The credit at `index` of a body of `.leaseCredits`: term 4, back-end 2, credits 2.
  static func credit(at index: Int, in body: Span<UInt8>) -> LeaseCredit {
    let start = index * creditLength
    return LeaseCredit(
      backEnd: BackEndID(body.readUInt16(at: start + 4)), credits: body.readUInt16(at: start + 6),
      term: body.readUInt32(at: start))
  }

  /// The target's lease at `index` of a body of `.targetLeases`: target 8, back-end 2, milliseconds 2.
  ///
  /// - Throws: `.invalidFlags` for one that is over before it begins.
  static func targetLease(at index: Int, in body: Span<UInt8>) throws(ControlProtocolError) -> TargetLease {
    let start = index * targetLeaseLength
    let milliseconds = body.readUInt16(at: start + 10)
    guard milliseconds > 0 else { throw .invalidFlags }
    return TargetLease(
      target: body.readUInt64(at: start), backEnd: BackEndID(body.readUInt16(at: start + 8)), milliseconds: milliseconds
    )
  }

  static func append(_ lease: TargetLease, to output: inout OutputSpan<UInt8>) {
    output.append(bigEndian: lease.target)
    output.append(bigEndian: lease.backEnd.rawValue)
    output.append(bigEndian: lease.milliseconds)
  }

  static func append(_ credit: LeaseCredit, to output: inout OutputSpan<UInt8>) {
    output.append(bigEndian: credit.term)
    output.append(bigEndian: credit.backEnd.rawValue)
    output.append(bigEndian: credit.credits)
  }

  static func append(_ request: DecisionRequest, to output: inout OutputSpan<UInt8>) {
    output.append(bigEndian: request.id)
    output.append(bigEndian: request.target)
    output.append(bigEndian: request.route.affinity?.key ?? 0)
    output.append(bigEndian: request.route.affinity?.seed ?? 0)
    output.append(bigEndian: request.route.affinity?.lifetime ?? 0)
    output.append(bigEndian: request.route.pool.rawValue)
    output.append(bigEndian: request.excluded?.rawValue ?? noBackEnd)
    output.append(bigEndian: UInt16(0))
  }

  static func append(_ decision: Decision, to output: inout OutputSpan<UInt8>) {
    output.append(bigEndian: decision.id)
    let (code, backEnd): (UInt8, UInt16) =
      switch decision.outcome {
      case .assigned(let backEnd): (1, backEnd.rawValue)
      case .noBackEnd: (2, 0)
      case .overloaded: (3, 0)
      }
    output.append(code)
    output.append(0)
    output.append(bigEndian: backEnd)
    output.append(bigEndian: decision.lease?.milliseconds ?? 0)
    output.append(bigEndian: decision.lease?.credits ?? 0)
    output.append(bigEndian: decision.lease?.term ?? 0)
  }

  static func append(_ account: LeaseAccount, to output: inout OutputSpan<UInt8>) {
    output.append(bigEndian: account.target)
    output.append(bigEndian: account.pool.rawValue)
    output.append(bigEndian: account.term)
    output.append(bigEndian: account.backEnd.rawValue)
    output.append(bigEndian: account.used)
    output.append(bigEndian: account.returned)
    output.append(bigEndian: UInt16(0))
  }
}

/// A frame of decisions under construction at the end of a byte array: `begin`, any number of `append`, `end`. Frames are
/// split by themselves at the batch limit, and a frame without decisions leaves nothing behind.
public struct DecisionFrameWriter {
  private var start: Int
  private var count = 0

  public static func begin(in bytes: inout [UInt8]) -> DecisionFrameWriter {
    let start = bytes.count
    bytes.append(addingCapacity: FrameHeader.length) { (output: inout OutputSpan<UInt8>) in
      output.append(bodyLength: 0, .decisions)
    }
    return DecisionFrameWriter(start: start)
  }

  public mutating func append(_ decision: Decision, to bytes: inout [UInt8]) {
    if count == ControlProtocolLimit.batch {
      end(in: &bytes)
      self = DecisionFrameWriter.begin(in: &bytes)
    }
    bytes.append(addingCapacity: DecisionCodec.decisionLength) { (output: inout OutputSpan<UInt8>) in
      DecisionCodec.append(decision, to: &output)
    }
    count += 1
  }

  /// Writes the length into the header; nothing may be appended afterwards.
  public mutating func end(in bytes: inout [UInt8]) {
    guard count > 0 else {
      bytes.removeLast(bytes.count - start)
      return
    }
    var span = bytes.mutableSpan
    span.write(UInt32(count * DecisionCodec.decisionLength), at: start)
  }
}

/// Messages that are one list of fixed-size elements; the count follows from the body length.
enum ListCodec {
  static func count(_ body: Span<UInt8>, elementLength: Int) throws(ControlProtocolError) -> Int {
    let (count, rest) = body.count.quotientAndRemainder(dividingBy: elementLength)
    guard rest == 0 else { throw .truncated }
    guard count <= ControlProtocolLimit.batch else { throw .tooManyElements }
    return count
  }

  /// Appends frames of at most `ControlProtocolLimit.batch` elements; one empty frame for an empty list.
  static func encode<Element>(
    _ elements: [Element], _ type: MessageType, elementLength: Int, into bytes: inout [UInt8],
    _ append: (Element, inout OutputSpan<UInt8>) -> Void
  ) {
    var first = 0
    repeat {
      let end = min(elements.count, first + ControlProtocolLimit.batch)
      let bodyLength = (end - first) * elementLength
      bytes.append(addingCapacity: FrameHeader.length + bodyLength) { (output: inout OutputSpan<UInt8>) in
        output.append(bodyLength: bodyLength, type)
        for index in first..<end { append(elements[index], &output) }
      }
      first = end
    } while first < elements.count
  }
}
