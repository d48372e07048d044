// SPDX-License-Identifier: Apache-2.0

import DistributorCore
import ForwardingPlane
import Glibc
import LinuxKernel
import Logging
import Telemetry

/// How packets come to the workers, decided once at the start.
struct Intake: ~Copyable {
  let answersInKernel: Bool
  let usesRings: Bool
  private let sources: [Handover<PacketSource>]

  consuming func takeSources() -> [Handover<PacketSource>] { sources }

  /// Opens a ring or a queue for each worker, as configured.
  static func open(
    _ configuration: DistributorConfiguration, _ handshake: HandshakeTable, logger: Logger
  ) throws(StartupFailure) -> Intake {
    let answersInKernel = configuration.handshake != .user
    if configuration.packets != .queue {
      do throws(ForwardingPlaneError) {
        var rings: [Handover<PacketSource>] = []
        for worker in 0..<configuration.workers {
          rings.append(try openRing(worker: worker, handshake))
        }
        return Intake(answersInKernel: answersInKernel, usesRings: true, sources: rings)
      } catch {
        if configuration.packets == .ring {
          throw StartupFailure(
            "The distributor cannot make its packet rings: \(error)",
            remedy: "Choose --packets queue, or a kernel with BPF ring buffers (5.8)")
        }
        logger.warning("no packet rings; client packets come by NFQUEUE", metadata: ["error": "\(error)"])
      }
    }
    var queues: [Handover<PacketSource>] = []
    for worker in 0..<configuration.workers {
      queues.append(try openQueue(configuration.firstQueue + UInt16(worker)))
    }
    return Intake(answersInKernel: answersInKernel, usesRings: false, sources: queues)
  }

  static func openRing(
    worker: Int, _ handshake: HandshakeTable
  ) throws(ForwardingPlaneError) -> Handover<PacketSource> {
    Handover(PacketSource(try handshake.openRing(worker: worker, size: ringSize)))
  }

  /// Bytes of a worker's ring: 16,000 requests of up to 496 bytes, or 127 joined segments of 64 KB.
  static let ringSize = 8 << 20

  static func openQueue(_ number: UInt16) throws(StartupFailure) -> Handover<PacketSource> {
    do {
      return Handover(PacketSource(try NetfilterQueue(number: number, maximumLength: 16_384)))
    } catch  where error.errno == EBUSY {
      throw StartupFailure(
        "Another program reads NFQUEUE \(number)", remedy: "Choose other queues with --queue-number")
    } catch {
      throw StartupFailure(
        "NFQUEUE \(number) cannot be opened: \(error)",
        remedy: "Run as root (CAP_NET_ADMIN) on a kernel with CONFIG_NETFILTER_NETLINK_QUEUE")
    }
  }
}

extension HandshakePlan {
  /// The same promises as the responder's.
  init(answersInKernel: Bool, usesRings: Bool, workers: Int, responder: ResponderConfiguration) {
    self.init(
      answersInKernel: answersInKernel, usesRings: usesRings, workers: workers,
      segmentSizeIPv4: responder.maximumSegmentSizeIPv4, segmentSizeIPv6: responder.maximumSegmentSizeIPv6,
      window: UInt16(responder.receiveLimit), windowScale: responder.windowScale, targetKey: responder.targetKey)
  }
}

extension HandshakeKeys {
  init(_ secrets: HandshakeSecrets) {
    self.init(
      even: Cookie(secrets.even), odd: Cookie(secrets.odd), timestamp0: secrets.timestamp.0,
      timestamp1: secrets.timestamp.1, spread: secrets.spread)
  }
}

extension HandshakeKeys.Cookie {
  init(_ key: HandshakeSecrets.CookieKey) {
    self.init(period: key.period, outer0: key.outer.0, outer1: key.outer.1, tag: key.tag)
  }
}

extension HandshakeSecrets {
  init(_ keys: HandshakeKeys) {
    self.init(
      even: CookieKey(keys.even), odd: CookieKey(keys.odd), timestamp: (keys.timestamp0, keys.timestamp1),
      spread: keys.spread)
  }
}

extension HandshakeSecrets.CookieKey {
  init(_ key: HandshakeKeys.Cookie) {
    self.init(period: key.period, outer: (key.outer0, key.outer1), tag: key.tag)
  }
}
