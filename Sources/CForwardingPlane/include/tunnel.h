// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause
//
// The tunnel from a distributor to a server node on another network: the client's IP packet as the payload of a UDP
// datagram, without a header of its own. This is variant 1 of Generic UDP Encapsulation (draft-ietf-intarea-gue, section 4):
// the version nibble of an IP header is its tag. docs/design/tunnel.md has the picture and the reasons.
#pragma once
#include <linux/types.h>

#include "flow_table.h"

enum {
  // Assigned to GUE by IANA.
  TUNNEL_PORT = 6080,
  TUNNEL_MAX_NODES = 1024,
  TUNNEL_MAX_PEERS = 1024,
  TUNNEL_MAX_ADDRESSES = 1024,
  TUNNEL_HOP_LIMIT = 64,
};

// One way out of a distributor. An entry keeps its meaning while flows name it: it is never given to another node.
struct tunnel_node {
  // The server node's internal address, and the distributor's: of one family.
  struct handoff_address node;
  struct handoff_address source;
  // Index of the interface that leads there; 0 when the entry is unused.
  __u32 interface;
  // Bytes of the longest IP packet that gets there, as far as user space knows; 0: of the interface's MTU.
  __u32 mtu;
};

// Every packet that the program at the server node's interface sees ends in exactly one of these.
enum tunnel_outcome {
  // Not a datagram to this tunnel's port: passed as it is.
  TUNNEL_OTHER,
  // Shorter than its own headers say, or not an IP packet inside: dropped.
  TUNNEL_MALFORMED,
  // An IP fragment of a datagram to this node: passed as it is, nobody listens at the port.
  TUNNEL_FRAGMENT,
  // Not from a distributor of the cluster: dropped.
  TUNNEL_STRANGER,
  // For an address that this node does not serve, or neither TCP nor ICMP: dropped.
  TUNNEL_NOT_SERVED,
  // Taken out of the tunnel and passed on to the node's TCP.
  TUNNEL_DECAPSULATED,
  // The frame could not be rewritten (the kernel is out of memory): dropped, the client retransmits.
  TUNNEL_REWRITE_FAILED,
  TUNNEL_OUTCOMES,
};

struct tunnel_counters {
  __u64 packets[TUNNEL_OUTCOMES];
};
