// SPDX-License-Identifier: Apache-2.0

import CLinux
import Clibmnl
import Glibc

/// Filters of the traffic control.
public enum TrafficFilters {
  /// Whether the interface's clsact qdisc has a filter, at ingress or egress.
  public static func exist(interface index: UInt32) throws(SystemError) -> Bool {
    var netlink = try NetlinkSocket(.route)
    var count = 0
    // TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS and TC_H_MIN_EGRESS), include/uapi/linux/pkt_sched.h.
    for parent: UInt32 in [0xffff_fff2, 0xffff_fff3] {
      var header = tcmsg()
      header.tcm_family = UInt8(AF_UNSPEC)
      header.tcm_ifindex = Int32(bitPattern: index)
      header.tcm_parent = parent
      let request = NetlinkRequest(type: Int32(RTM_GETTFILTER), flags: NLM_F_DUMP)
      request.putHeader(header)
      try netlink.exchange(request, call: "RTM_GETTFILTER") { _ in count += 1 }
    }
    return count > 0
  }
}
