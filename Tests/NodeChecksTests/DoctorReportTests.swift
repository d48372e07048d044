// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import NodeChecks

@Suite struct DoctorReportTests {
  static let ok = DoctorFinding(.node, "kernel version", .ok("Linux 6.9"))
  static let lost = DoctorFinding(
    .backEnd, "tcp_sack", .lost("It is 0", loss: "connections are relayed", remedy: "sysctl -w a=1"))
  static let missing = DoctorFinding(.distributor, "CAP_BPF", .missing("Not \"held\"\nat all", remedy: "Run as root"))

  @Test func textHasALineForEachFindingAndTheSums() {
    let text = DoctorReport([Self.ok, Self.lost, Self.missing]).text
    #expect(
      text == """
        ok       node         kernel version  Linux 6.9
        lost     back-end     tcp_sack        It is 0. Lost: connections are relayed. To do: sysctl -w a=1
        missing  distributor  CAP_BPF         Not "held" | at all. To do: Run as root
        1 ok, 1 lost, 1 missing

        """)
  }

  @Test func jsonSaysTheSame() {
    #expect(
      DoctorReport([Self.ok, Self.lost, Self.missing]).json
        == #"{"can_run":false,"findings":["#
        + #"{"check":"kernel version","found":"Linux 6.9","state":"ok","subject":"node"},"#
        + #"{"check":"tcp_sack","found":"It is 0","loss":"connections are relayed","remedy":"sysctl -w a=1","#
        + #""state":"lost","subject":"back-end"},"#
        + #"{"check":"CAP_BPF","found":"Not \"held\"\nat all","remedy":"Run as root","state":"missing","#
        + #""subject":"distributor"}],"lost":1,"missing":1,"ok":1}"# + "\n")
  }

  @Test func onlyWhatIsMissingKeepsANodeFromRunning() {
    #expect(DoctorReport([]).canRun)
    #expect(DoctorReport([Self.ok, Self.lost]).canRun)
    #expect(!DoctorReport([Self.ok, Self.missing]).canRun)
  }
}
