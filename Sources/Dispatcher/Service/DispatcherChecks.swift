// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import LinuxKernel
public import NodeChecks
internal import Telemetry
public import Wire

/// What a dispatcher needs of its host, looked at without starting one.
public enum DispatcherChecks {
  /// - Parameter endpoint: where it would listen.
  public static func findings(listen endpoint: Endpoint) -> [DoctorFinding] {
    let check = "control port"
    do throws(SystemError) {
      _ = try StreamSocket.listen(at: endpoint)
      return [DoctorFinding(.dispatcher, check, .ok("\(endpoint) is free"))]
    } catch {
      // A dispatcher holds nothing but its port by which it could be known.
      if error.errno == EADDRINUSE {
        return [
          DoctorFinding(
            .dispatcher, check,
            .lost(
              "\(endpoint) is in use", loss: "no dispatcher can be started besides its user",
              remedy: "Nothing, if that is a dispatcher; ss -ltnp 'sport = :\(endpoint.port)' names the process"))
        ]
      }
      let failure = DispatcherService.explain(error, endpoint)
      return [DoctorFinding(.dispatcher, check, .missing(failure.problem, remedy: failure.remedy))]
    }
  }
}
