// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause
//
// Layout of the maps of the forwarding program at the driver (XDP). They live and end with that program; everything that
// outlives it is in flow_table.h. docs/design/forwarding.md has the picture and the reasons.
#pragma once
#include <linux/types.h>

// How a packet leaves by the interface that it came in by.
enum driver_way {
  DRIVER_PASSES_ALL,
  // XDP_TX: the receiving queue's own way out. Every driver with native XDP has it.
  DRIVER_TRANSMITS,
  // bpf_redirect: on veth, whose XDP_TX needs a program at the other end too.
  DRIVER_REDIRECTS,
};

struct driver_settings {
  // The interface's own: frames to any other address are passed on.
  __u8 mac[6];
  // Bytes of the longest frame that the network carries.
  __u16 longest;
  // enum driver_way.
  __u32 way;
};

// Every frame that the program sees ends in exactly one of these. Those that are passed on are counted by the program at tc
// as well, by what becomes of them there; the others only here and as HANDOFF_FORWARDED or HANDOFF_TUNNELLED
// (HANDOFF_REWRITE_FAILED).
enum driver_outcome {
  // Not a packet that can simply follow its flow: the program at tc decides.
  DRIVER_PASSED,
  // Of a flow, but its checksum is still to be filled in by a device, and that is not known any more behind XDP.
  DRIVER_CHECKSUM_OPEN,
  // Of a flow, but longer than the network carries, or in pieces: segments that the kernel has joined.
  DRIVER_JOINED,
  // Of a flow in a tunnel whose way out is not known here: no neighbour yet, another interface, too long.
  DRIVER_NO_WAY,
  // Sent to the back-end.
  DRIVER_FORWARDED,
  // Sent to the back-end in a tunnel.
  DRIVER_TUNNELLED,
  // The tunnel's headers could not be written into the room made for them: dropped, and HANDOFF_REWRITE_FAILED too. No
  // kernel is known to do that.
  DRIVER_FAILED,
  DRIVER_OUTCOMES,
};

struct driver_counters {
  __u64 packets[DRIVER_OUTCOMES];
};
