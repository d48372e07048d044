// SPDX-License-Identifier: Apache-2.0

import CForwardingPlane
import Glibc
import LinuxKernel

/// The serving plane's programs and maps in the kernel.
struct LoadedServeObject: Sendable {
  var serve: SharedDescriptor
  var silence: SharedDescriptor
  var idle: SharedDescriptor
  var states: SharedDescriptor
  var maps: ServeMaps
}

struct ServeMaps: Sendable {
  var waiting: SharedDescriptor
  var services: SharedDescriptor
  var adopted: SharedDescriptor
  var silenced: SharedDescriptor
  var counters: SharedDescriptor
  var settings: SharedDescriptor
  var rings: SharedDescriptor
  var watching: SharedDescriptor
  var seen: SharedDescriptor
}

extension LoadedServeObject {
  static func load() throws(ServePlaneError) -> LoadedServeObject {
    let object: BPFObject
    do throws(SystemError) {
      object = try BPFObject(ServeProgramObject.bytes, name: "handoff_serve")
    } catch {
      throw .failed(error)
    }
    object.check("serve_waiting", serve_key.self, serve_pending.self)
    object.check("serve_services", serve_service_key.self, serve_listener.self)
    object.check("serve_adopted", serve_key.self, serve_connection.self)
    object.check("serve_silenced", serve_key.self, UInt32.self)
    object.check("serve_watching", UInt32.self, serve_attention.self)
    object.check("serve_seen", serve_handoff.self, UInt32.self)
    object.check("serve_counts", UInt32.self, serve_counters.self)
    object.check("serve_settings", UInt32.self, serve_settings.self)
    do throws(BPFLoadFailure) {
      try object.load()
    } catch {
      throw explain(error)
    }
    do throws(SystemError) {
      return LoadedServeObject(
        serve: try object.program("handoff_serve"), silence: try object.program("handoff_silence"),
        idle: try object.program("handoff_idle"), states: try object.program("handoff_states"),
        maps: ServeMaps(
          waiting: try object.map("serve_waiting"), services: try object.map("serve_services"),
          adopted: try object.map("serve_adopted"), silenced: try object.map("serve_silenced"),
          counters: try object.map("serve_counts"), settings: try object.map("serve_settings"),
          rings: try object.map("serve_rings"), watching: try object.map("serve_watching"),
          seen: try object.map("serve_seen")))
    } catch {
      throw .failed(error)
    }
  }

  private static func explain(_ failure: BPFLoadFailure) -> ServePlaneError {
    let error = failure.error
    if failure.isNotPermitted { return .notPermitted(error.call) }
    if let obstacle = ServePlane.typesObstacle() { return obstacle }
    // libbpf does not find a kernel function before the verifier sees anything.
    if failure.said.isEmpty && (error.errno == ESRCH || error.errno == ENOENT || error.errno == EINVAL) {
      return ServePlaneError(
        "Linux \(HostFacts.kernelRelease()) has no bpf_sk_assign_tcp_reqsk",
        remedy: "Use Linux 6.9 or later with CONFIG_SYN_COOKIES")
    }
    return ServePlaneError(
      "the kernel does not take the serving program: \(error)",
      remedy: "Use Linux 6.9 or later with CONFIG_SYN_COOKIES and CONFIG_BPF_EVENTS. What it said:\n\(failure.said)")
  }
}

extension ServePlane {
  /// Why the kernel's functions cannot be found, nil when they can.
  public static func typesObstacle() -> ServePlaneError? {
    if SystemFile.isReadable("/sys/kernel/btf/vmlinux") { return nil }
    return ServePlaneError(
      "the kernel has no type information (/sys/kernel/btf/vmlinux)", remedy: "Use a kernel with CONFIG_DEBUG_INFO_BTF")
  }
}
