// SPDX-License-Identifier: Apache-2.0

import Clibbpf
import LinuxKernel

@testable import ForwardingPlane

/// What the program did with one frame, run by BPF_PROG_TEST_RUN.
struct Observation: Hashable, Sendable {
  var verdict: Verdict
  var frame: Frame
  var mark: UInt32
  /// Every outcome that was counted for the frame.
  var outcomes: [ForwardingOutcome]
  /// Of one run of the program, on average.
  var nanoseconds: Int

  enum Verdict: Hashable, Sendable {
    case pass, drop, redirect
    case other(Int32)
  }
}

/// What a program returned for one frame, and what it made of it.
struct ProgramRun: Hashable, Sendable {
  var verdict: Observation.Verdict
  var frame: Frame
  var mark: UInt32
  /// Of one run of the program, on average.
  var nanoseconds: Int

  /// Runs a program of tc over a frame as if it had come in by the interface of that index. Nothing is sent.
  ///
  /// - Parameter times: how often; the frame is not put back in between.
  init(
    _ program: SharedDescriptor, _ frame: Frame, interface: UInt32, segmentSize: UInt32 = 0, times: Int = 1
  ) throws(SystemError) {
    var context = unsafe __sk_buff()
    unsafe context.ifindex = interface
    unsafe context.ingress_ifindex = 0
    unsafe context.gso_size = segmentSize
    var output = [UInt8](repeating: 0, count: frame.bytes.count + 128)
    var options = unsafe bpf_test_run_opts()
    unsafe options.`repeat` = Int32(times)
    unsafe options.sz = LibBPF.size(through: \bpf_test_run_opts.batch_size, bytes: 4)
    let raw = program.raw
    let (bytes, size) = (frame.bytes, output.count)
    // SAFETY: all buffers outlive the call, and the kernel is told their sizes.
    let result = unsafe bytes.withUnsafeBytes { input in
      unsafe output.withUnsafeMutableBytes { output in
        unsafe withUnsafeMutableBytes(of: &context) { context -> Int32 in
          unsafe options.data_in = input.baseAddress
          unsafe options.data_size_in = UInt32(input.count)
          unsafe options.data_out = output.baseAddress
          unsafe options.data_size_out = UInt32(size)
          unsafe options.ctx_in = UnsafeRawPointer(context.baseAddress)
          unsafe options.ctx_size_in = UInt32(context.count)
          unsafe options.ctx_out = context.baseAddress
          unsafe options.ctx_size_out = UInt32(context.count)
          return unsafe bpf_prog_test_run_opts(raw, &options)
        }
      }
    }
    guard result == 0 else { throw SystemError("bpf_prog_test_run_opts", errno: -result) }
    verdict =
      switch Int32(bitPattern: unsafe options.retval) {
      case -1: .pass
      case 2: .drop
      case 7: .redirect
      case let other: .other(other)
      }
    self.frame = Frame(bytes: Array(output[..<Int(unsafe options.data_size_out)]))
    mark = unsafe context.mark
    nanoseconds = Int(unsafe options.duration)
  }
}

extension ForwardingPlane {
  /// Runs the program over a frame as if it had come in by the interface of that index. Nothing is sent.
  ///
  /// - Parameter times: how often; the frame is not put back in between.
  func run(
    _ frame: Frame, interface: UInt32, segmentSize: UInt32 = 0, times: Int = 1
  ) throws(SystemError) -> Observation {
    let before = counters()
    let run = try ProgramRun(program, frame, interface: interface, segmentSize: segmentSize, times: times)
    let after = counters()
    let outcomes = ForwardingOutcome.allCases.flatMap { outcome in
      Array(repeating: outcome, count: Int(after[outcome] - before[outcome]))
    }
    return Observation(
      verdict: run.verdict, frame: run.frame, mark: run.mark, outcomes: outcomes, nanoseconds: run.nanoseconds)
  }
}
