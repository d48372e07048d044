// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause
//
// A handoff in one packet: a UDP datagram to the server node's internal address that carries this header and, behind it, the
// client's request as the IP packet that brings it to the listener. docs/design/packet-handoff.md has the picture and the
// reasons. `HandoffPacket` in Swift writes it.
#pragma once
#include <linux/types.h>

enum {
  HANDOFF_PACKET_VERSION = 1,
};

// All numbers in network order. 40 bytes.
struct handoff_packet {
  __u8 version;
  // enum serve_option: what was negotiated.
  __u8 options;
  __u8 send_scale;
  __u8 receive_scale;
  __u16 mss;
  // Which of the agent's event loops has the distributor's control connection.
  __u8 loop;
  __u8 zero;
  // The distributor's worker, and the handoff among all of that worker.
  __u64 origin;
  __u64 handoff;
  // ts.recent of RFC 7323, and the clock that the server's goes on from.
  __u32 timestamp_value;
  __u32 timestamp_echo;
  // SipHash-2-4 under the agent's key of the fields above, the flow and both sequence numbers of the request.
  __u64 tag;
};
