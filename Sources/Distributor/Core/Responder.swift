// SPDX-License-Identifier: Apache-2.0

internal import HTTPHead
internal import Handoff
internal import Rules
public import Wire

/// One worker's client connections, from the SYN to the handoff. No I/O and no clock: packets, answers and the time come
/// in, actions go out. Every time is in nanoseconds of one monotonic clock and never runs backwards.
///
/// It is not a general TCP: it receives one request head, sends nothing but acknowledgments and small answers, and gives
/// the connection away. `docs/design/responder.md` has the states and the reasons.
public struct Responder: ~Copyable {
  private(set) var configuration: ResponderConfiguration
  var keys: ResponderKeys
  let services: [Endpoint]
  let headLimits: RequestHeadLimits
  var rules = RuleTable()
  var table: ConnectionTable
  var timers: TimerWheel
  var buffers: BufferPool
  var heldBuffers: BufferPool
  var tally = ResponderCounters()
  var resetLimit: RateLimit
  var accepting = true
  /// Until when segments of unknown flows may carry a cookie of ours.
  var cookiesUntil: UInt64 = 0
  let answers = AnswerBook()
  var orphans = OrphanBook()
  /// Handoffs by the kernel itself.
  var unconfirmed = UnconfirmedHandoffs()
  /// Of those the ones that got a slot, by the names that the kernel gave them.
  var leased: [HandoffID: Int] = [:]
  var answerText: [UInt8] = []
  /// Seconds since 1970 at monotonic time 0, nil until the driver says it.
  var epoch: UInt64?

  /// What SYN-ACKs announce from now on.
  public mutating func announce(_ sizes: SegmentSizes) {
    configuration.maximumSegmentSizeIPv4 = sizes.ipv4
    configuration.maximumSegmentSizeIPv6 = sizes.ipv6
  }

  /// - Parameter services: the addresses and ports that clients dial.
  public init(configuration: ResponderConfiguration, keys: ResponderKeys, services: [Endpoint], now: UInt64) {
    var configuration = configuration
    configuration.clamp()
    self.configuration = configuration
    self.keys = keys
    if configuration.handshakeInKernel { cookiesUntil = .max }
    self.services = services
    headLimits = RequestHeadLimits(
      maximumHeadLength: min(configuration.headLimit, configuration.receiveLimit),
      maximumTargetLength: configuration.targetLimit)
    table = ConnectionTable(capacity: configuration.maximumConnections)
    timers = TimerWheel(slots: configuration.maximumConnections, now: now)
    buffers = BufferPool(limit: configuration.maximumBufferBytes)
    heldBuffers = BufferPool(limit: configuration.maximumHeldBytes)
    resetLimit = RateLimit(perSecond: configuration.resetsPerSecond)
  }

  /// Tells the wall clock, for the Date of own answers. Without it they have none.
  public mutating func setClock(secondsSince1970 seconds: UInt64, now: UInt64) {
    epoch = seconds &- now / 1_000_000_000
  }

  /// Cookies are made and known by these secrets from now on.
  public mutating func setHandshakeKeys(_ handshake: HandshakeKeys) { keys.handshake = handshake }

  /// Drains: from now on SYNs of new connections are dropped silently, so that the clients come to another distributor.
  /// Connections that exist go on.
  public mutating func stopAccepting() { accepting = false }

  /// Whether a further connection could be entered now.
  public var hasRoom: Bool { table.count + unconfirmed.count < configuration.maximumConnections }

  /// Connections that are neither handed off nor closed.
  public var openConnections: Int { Int(tally.open) }

  /// Takes one packet of a client.
  ///
  /// - Parameter packet: from the IP header on.
  public mutating func receive(_ packet: Span<UInt8>, now: UInt64, into actions: inout ActionList) {
    tally.packetsReceived &+= 1
    tally.packets.count(process(packet, now: now, into: &actions))
  }

  private mutating func process(
    _ packet: Span<UInt8>, now: UInt64, into actions: inout ActionList
  ) -> PacketOutcome {
    let parsed: ParsedSegment
    do throws(WireError) {
      parsed = try TCPSegment.parse(packet, checksums: configuration.checksums)
    } catch {
      return PacketOutcome(error)
    }
    let arrival = Arrival(parsed, now: now)
    if arrival.flags.contains(.syn), !arrival.flags.isDisjoint(with: [.fin, .rst]) { return .implausible }
    guard let slot = table.find(arrival.flow, hash: keys.table.hash(arrival.flow)) else {
      return receiveUnknown(arrival, packet, into: &actions)
    }
    if let outcome = supersede(slot, arrival, packet, into: &actions) { return outcome }
    switch table.slots[slot].phase {
    case .vacant: preconditionFailure("the index names a vacant slot")
    case .passed(_, let backEnd): return receiveWhilePassed(slot, arrival, packet, backEnd, into: &actions)
    case .tombstone(let backEnd): return receiveAfterHandoff(slot, arrival, packet, backEnd, into: &actions)
    case .timeWait(let sendNext): return receiveInTimeWait(slot, arrival, packet, sendNext, into: &actions)
    case .embryonic, .collecting, .deciding, .handingOff, .closing:
      return receiveInConnection(slot, arrival, packet, into: &actions)
    }
  }

  /// Lets expired timers act. To be called at `nextDeadline`, or later.
  public mutating func tick(now: UInt64, into actions: inout ActionList) {
    withdrawKept(now: now, into: &actions)
    while let slot = timers.popExpired(now: now) { expire(slot, now: now, into: &actions) }
  }

  /// When `tick` has something to do; nil while no timer runs.
  public var nextDeadline: UInt64? {
    guard let oldest = unconfirmed.oldest else { return timers.nextDeadline }
    return min(oldest &+ configuration.packetTimeout, timers.nextDeadline ?? .max)
  }

  public var counters: ResponderCounters {
    var counters = tally
    counters.entries = UInt64(table.count + unconfirmed.count)
    counters.bufferBytes = UInt64(buffers.bytesInUse + unconfirmed.bytes)
    counters.heldBytes = UInt64(heldBuffers.bytesInUse)
    return counters
  }

  // MARK: Ends

  /// Counts how an open connection ended. What is left in the table afterwards is no longer open.
  mutating func finish(_ slot: Int, _ outcome: ConnectionOutcome) {
    tally.connections.count(outcome)
    tally.open -= 1
    releaseBuffers(slot)
  }

  mutating func releaseBuffers(_ slot: Int) {
    buffers.release(&table.slots[slot].buffer)
    table.slots[slot].held.discard(from: &heldBuffers)
  }

  /// Frees the slot; the connection has been counted.
  mutating func remove(_ slot: Int) {
    releaseBuffers(slot)
    timers.cancel(slot)
    forgetKernelName(slot)
    table.remove(slot)
  }
}

/// A parsed segment of a client and when it came.
struct Arrival {
  let segment: TCPSegment
  let payload: Range<Int>
  let now: UInt64

  init(_ parsed: ParsedSegment, now: UInt64) {
    segment = parsed.segment
    payload = parsed.payload
    self.now = now
  }

  var flags: TCPFlags { segment.flags }
  var flow: FlowTuple { FlowTuple(client: segment.source, service: segment.destination) }
  /// SEG.LEN of RFC 9293 section 3.3.1.
  var length: Int { segment.sequenceLength(payload: payload.count) }
  /// The client says that its side is over.
  var closes: Bool { !flags.isDisjoint(with: [.fin, .rst]) }
  var hasFIN: Bool { flags.contains(.fin) }
  /// A SYN that opens a connection.
  var isOpening: Bool { flags.contains(.syn) && !flags.contains(.ack) }
}
