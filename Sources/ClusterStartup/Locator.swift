// SPDX-License-Identifier: Apache-2.0

import LinuxKernel
import Synchronization
import Wire

/// Finds the dispatcher's address on a thread of its own, as the system's resolver blocks.
struct Locator: Sendable {
  enum Outcome: Sendable, Hashable {
    case found(DispatcherLocation)
    /// Why not; as a sentence without full stop.
    case notYet(String)
  }

  var resolve: @Sendable (String) throws(Resolver.Failure) -> [IPAddress] = { name throws(Resolver.Failure) in
    try Resolver.addresses(of: name)
  }
  var source: @Sendable (IPAddress) throws(SystemError) -> IPAddress = { address throws(SystemError) in
    try HostInterface.sourceAddress(towards: address)
  }

  /// A search under way.
  final class Search: Sendable {
    private let result = Mutex<Outcome?>(nil)

    func outcome() -> Outcome? { result.withLock { $0 } }

    fileprivate func finish(_ outcome: Outcome) { result.withLock { $0 = outcome } }
  }

  /// - Parameters:
  ///   - preferred: the own internal address: one of its family is taken when the name has several.
  ///   - done: signalled at the end.
  func start(name: String, preferred: IPAddress?, done: WakeUp) -> Search {
    let search = Search()
    _ = WorkerThread(name: "resolve") {
      search.finish(find(name, preferred))
      done.signal()
    }
    return search
  }

  func find(_ name: String, _ preferred: IPAddress?) -> Outcome {
    do throws(Resolver.Failure) {
      let addresses = try resolve(name)
      let address = addresses.first { preferred == nil || $0.isIPv4 == preferred?.isIPv4 } ?? addresses.first
      guard let address else { return .notYet("the dispatcher's name \(name) has no address") }
      do throws(SystemError) {
        let own = if let preferred { preferred } else { try source(address) }
        return .found(.elsewhere(address, source: own))
      } catch {
        return .notYet("there is no route to the dispatcher at \(address) (\(error))")
      }
    } catch {
      return .notYet("the dispatcher's name does not resolve (\(error))")
    }
  }
}
