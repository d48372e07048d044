// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// A tcx hook of one interface (Linux 6.6, kernel/bpf/tcx.c and mprog.c), in the calling thread's network namespace.
///
/// Programs are attached without a link: they stay when the process ends. All calls need CAP_NET_ADMIN.
public struct TCXHook: Hashable, Sendable {
  public let interface: UInt32
  public let isEgress: Bool

  /// What is attached, in the order in which packets meet it.
  public struct Programs: Hashable, Sendable {
    /// The kernel's ids.
    public var ids: [UInt32]
    /// Another one after every change.
    public var revision: UInt64
  }

  /// Where a program goes.
  public enum Position: Hashable, Sendable {
    case first
    case last
    /// Before or after the program with this id.
    case before(UInt32)
    case after(UInt32)
    /// In the place of the program with this descriptor; no packet passes between the two, and nothing is waited for.
    /// The other positions, as `detach`, take some ten milliseconds (`synchronize_rcu`).
    case inPlace(of: Int32)
  }

  /// Programs that a hook can have (BPF_MPROG_MAX).
  private static let maximum = 64

  public init(interface index: UInt32, isEgress: Bool = false) {
    self.interface = index
    self.isEgress = isEgress
  }

  private var type: UInt32 { UInt32(isEgress ? clinux_BPF_TCX_EGRESS : clinux_BPF_TCX_INGRESS) }

  /// - Throws: EINVAL where the kernel has no tcx, ENODEV without the interface, EPERM.
  public func programs() throws(SystemError) -> Programs {
    var ids = [UInt32](repeating: 0, count: TCXHook.maximum)
    var request = clinux_bpf_attached()
    request.interface = interface
    request.type = type
    request.count = UInt32(ids.count)
    // SAFETY: the kernel writes at most `count` ids and the fields of the request; both outlive the call.
    _ = try Syscall.call("BPF_PROG_QUERY") {
      unsafe ids.withUnsafeMutableBytes { ids in
        request.ids = UInt64(UInt(bitPattern: ids.baseAddress))
        return TCXHook.bpf(clinux_BPF_PROG_QUERY, &request)
      }
    }
    return Programs(ids: Array(ids.prefix(Int(request.count))), revision: request.revision)
  }

  /// Attaches a program of type BPF_PROG_TYPE_SCHED_CLS.
  ///
  /// - Parameter revision: what `programs` said when the position was chosen; nil when that does not matter.
  /// - Throws: ESTALE when somebody has changed the programs since, ENOENT when the program to replace is not there,
  ///   EBUSY when it belongs to a link, EEXIST when `program` is attached already, ERANGE when there are 64.
  public func attach(_ program: Int32, _ position: Position, revision: UInt64? = nil) throws(SystemError) {
    var request = clinux_bpf_attachment()
    request.interface = interface
    request.program = program
    request.type = type
    request.expected_revision = revision ?? 0
    let flags: Int
    switch position {
    case .first: flags = clinux_BPF_F_BEFORE
    case .last: flags = clinux_BPF_F_AFTER
    case .before(let id):
      flags = clinux_BPF_F_BEFORE | clinux_BPF_F_ID
      request.relative = id
    case .after(let id):
      flags = clinux_BPF_F_AFTER | clinux_BPF_F_ID
      request.relative = id
    case .inPlace(let other):
      flags = clinux_BPF_F_REPLACE
      request.replaced = other
    }
    request.flags = UInt32(flags)
    _ = try Syscall.call("BPF_PROG_ATTACH") { TCXHook.bpf(clinux_BPF_PROG_ATTACH, &request) }
  }

  /// - Throws: ENOENT when the program is not attached here, EBUSY when it belongs to a link.
  public func detach(_ program: Int32) throws(SystemError) {
    var request = clinux_bpf_attachment()
    request.interface = interface
    request.program = program
    request.type = type
    _ = try Syscall.call("BPF_PROG_DETACH") { TCXHook.bpf(clinux_BPF_PROG_DETACH, &request) }
  }

  /// The names of the attached programs, in their order, as the kernel keeps them: 15 bytes of each.
  ///
  /// - Throws: EPERM without CAP_SYS_ADMIN, as `programs`, and ENOENT for a program that goes meanwhile.
  public func names() throws(SystemError) -> [String] {
    var names: [String] = []
    for id in try programs().ids {
      var request = clinux_bpf_by_id(id: id, next: 0, flags: 0)
      let program = OwnedDescriptor(
        owning: try Syscall.call("BPF_PROG_GET_FD_BY_ID") { TCXHook.bpf(clinux_BPF_PROG_GET_FD_BY_ID, &request) })
      names.append(try TCXHook.name(of: program.raw))
    }
    return names
  }

  private static func name(of program: Int32) throws(SystemError) -> String {
    var info = clinux_bpf_program()
    // SAFETY: the kernel writes `length` bytes of the record; it outlives the call.
    return try unsafe withUnsafeMutableBytes(of: &info) { info throws(SystemError) in
      var ask = clinux_bpf_ask()
      ask.program = program
      ask.length = UInt32(info.count)
      ask.answer = UInt64(UInt(bitPattern: info.baseAddress))
      _ = try Syscall.call("BPF_OBJ_GET_INFO_BY_FD") { bpf(clinux_BPF_OBJ_GET_INFO_BY_FD, &ask) }
      return unsafe String(decoding: info.dropFirst(64).prefix { $0 != 0 }, as: UTF8.self)
    }
  }

  /// Loads a program for tc hooks.
  ///
  /// - Parameters:
  ///   - name: for the kernel's lists; it keeps 15 bytes.
  ///   - instructions: each as the kernel has it in memory (`struct bpf_insn`).
  public static func load(_ instructions: [UInt64], name: String) throws(SystemError) -> OwnedDescriptor {
    var request = clinux_bpf_load()
    request.type = UInt32(clinux_BPF_PROG_TYPE_SCHED_CLS)
    request.instruction_count = UInt32(instructions.count)
    unsafe withUnsafeMutableBytes(of: &request.name) { field in
      for (index, byte) in name.utf8.prefix(15).enumerated() { unsafe field[index] = byte }
    }
    let license = Array("Dual BSD/GPL".utf8) + [0]
    // SAFETY: the kernel reads instructions and licence during the call.
    let raw = try Syscall.call("BPF_PROG_LOAD") {
      unsafe instructions.withUnsafeBytes { instructions in
        unsafe license.withUnsafeBytes { license in
          request.instructions = UInt64(UInt(bitPattern: instructions.baseAddress))
          request.license = UInt64(UInt(bitPattern: license.baseAddress))
          return bpf(clinux_BPF_PROG_LOAD, &request)
        }
      }
    }
    return OwnedDescriptor(owning: raw)
  }

  private static func bpf<Request: BitwiseCopyable>(_ command: Int, _ request: inout Request) -> Int32 {
    // SAFETY: a struct of the size and layout that the kernel knows for this command.
    unsafe withUnsafeMutableBytes(of: &request) { bytes in
      unsafe clinux_bpf(Int32(command), bytes.baseAddress, UInt32(bytes.count))
    }
  }
}
