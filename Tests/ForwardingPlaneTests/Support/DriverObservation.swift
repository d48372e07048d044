// SPDX-License-Identifier: Apache-2.0

import Clibbpf
import LinuxKernel

@testable import ForwardingPlane

/// What the program at the driver did with one frame, run by BPF_PROG_TEST_RUN.
struct DriverObservation: Hashable, Sendable {
  var verdict: Verdict
  var frame: Frame
  /// Every outcome that was counted for the frame, at the driver and as if at tc.
  var outcomes: [DriverOutcome]
  var forwardingOutcomes: [ForwardingOutcome]
  /// Of one run of the program, on average.
  var nanoseconds: Int

  enum Verdict: Hashable, Sendable {
    case pass, transmit, redirect
    case other(UInt32)
  }
}

/// What a program at the driver returned for one frame, and what it made of it. Nothing is sent.
struct DriverRun: Hashable, Sendable {
  var verdict: DriverObservation.Verdict
  var frame: Frame
  /// Of one run of the program, on average.
  var nanoseconds: Int

  /// - Parameters:
  ///   - interface: where the frame has come in; `lo` unless given.
  ///   - times: how often; the frame is not put back in between.
  init(_ program: SharedDescriptor, _ frame: Frame, interface: UInt32? = nil, times: Int = 1) throws(SystemError) {
    var output = [UInt8](repeating: 0, count: frame.bytes.count + 128)
    var options = unsafe bpf_test_run_opts()
    unsafe options.`repeat` = Int32(times)
    unsafe options.sz = LibBPF.size(through: \bpf_test_run_opts.batch_size, bytes: 4)
    var context = xdp_md()
    context.data_end = UInt32(frame.bytes.count)
    context.ingress_ifindex = interface ?? 0
    let raw = program.raw
    let (bytes, size, hasContext) = (frame.bytes, output.count, interface != nil)
    // SAFETY: all buffers outlive the call, and the kernel is told their sizes.
    let result = unsafe bytes.withUnsafeBytes { input in
      unsafe output.withUnsafeMutableBytes { output -> Int32 in
        unsafe withUnsafeMutableBytes(of: &context) { context -> Int32 in
          unsafe options.data_in = input.baseAddress
          unsafe options.data_size_in = UInt32(input.count)
          unsafe options.data_out = output.baseAddress
          unsafe options.data_size_out = UInt32(size)
          unsafe options.ctx_in = hasContext ? UnsafeRawPointer(context.baseAddress) : nil
          unsafe options.ctx_size_in = hasContext ? UInt32(context.count) : 0
          return unsafe bpf_prog_test_run_opts(raw, &options)
        }
      }
    }
    guard result == 0 else { throw SystemError("bpf_prog_test_run_opts", errno: -result) }
    verdict =
      switch unsafe options.retval {
      case 2: .pass
      case 3: .transmit
      case 4: .redirect
      case let other: .other(other)
      }
    self.frame = Frame(bytes: Array(output[..<Int(unsafe options.data_size_out)]))
    nanoseconds = Int(unsafe options.duration)
  }
}

extension ForwardingPlane {
  /// Runs the program at the driver over a frame that has come in by `lo`. Nothing is sent.
  ///
  /// - Parameter times: how often; the frame is not put back in between.
  func runAtDriver(_ frame: Frame, times: Int = 1) throws(SystemError) -> DriverObservation {
    guard let program = driver.plane?.program else { throw SystemError("find", "the program at the driver", errno: 2) }
    let (before, forwardedBefore) = (driver.counters(), counters())
    let run = try DriverRun(program, frame, times: times)
    let (after, forwardedAfter) = (driver.counters(), counters())
    return DriverObservation(
      verdict: run.verdict, frame: run.frame,
      outcomes: DriverOutcome.allCases.flatMap { Array(repeating: $0, count: Int(after[$0] - before[$0])) },
      forwardingOutcomes: ForwardingOutcome.allCases.flatMap {
        Array(repeating: $0, count: Int(forwardedAfter[$0] - forwardedBefore[$0]))
      }, nanoseconds: run.nanoseconds)
  }
}
