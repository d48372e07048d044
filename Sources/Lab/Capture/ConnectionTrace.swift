// SPDX-License-Identifier: Apache-2.0

public import Wire

/// One connection as a capture saw it.
public struct ConnectionTrace: Sendable {
  public var flow: FlowTuple
  /// In the order of capture.
  public var segments: [CapturedSegment] = []

  /// Sorts a capture into connections: a SYN of a client that is no retransmission begins one.
  public static func connections(in capture: [CapturedSegment], servicePort: UInt16) -> [ConnectionTrace] {
    var traces: [ConnectionTrace] = []
    var current: [FlowTuple: Int] = [:]
    for captured in capture {
      let segment = captured.segment
      let flow =
        segment.destination.port == servicePort
        ? FlowTuple(client: segment.source, service: segment.destination)
        : FlowTuple(client: segment.destination, service: segment.source)
      let isOpening = segment.flags.contains(.syn) && !segment.flags.contains(.ack)
      if isOpening, let index = current[flow], traces[index].segments.first?.segment.sequence != segment.sequence {
        current[flow] = nil
      }
      if let index = current[flow] {
        traces[index].segments.append(captured)
      } else if isOpening {
        current[flow] = traces.count
        traces.append(ConnectionTrace(flow: flow, segments: [captured]))
      }
    }
    return traces
  }

  public func isFromClient(_ captured: CapturedSegment) -> Bool { captured.segment.source == flow.client }

  public var fromClient: [CapturedSegment] { segments.filter(isFromClient) }
  public var toClient: [CapturedSegment] { segments.filter { !isFromClient($0) } }
}

extension ConnectionTrace {
  /// Payload bytes of one side, each counted once.
  public func bytes(fromClient: Bool) -> Int {
    let side = fromClient ? self.fromClient : toClient
    guard let first = side.first?.segment.sequence else { return 0 }
    return side.filter { $0.payload > 0 }.map { first.distance(to: $0.segment.sequence) - 1 + $0.payload }.max() ?? 0
  }

  /// Resets that came from the server's side.
  public var resetsToClient: Int { toClient.count { $0.segment.flags.contains(.rst) } }
}
