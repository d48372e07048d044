// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause
//
// Layout of the forwarding plane's BPF maps: read by the BPF program and, through the Swift importer, by its loader.
// A running kernel may hold maps of an earlier release: whoever changes the size, the order or the meaning of a field
// raises HANDOFF_LAYOUT_VERSION.
#pragma once
#include <linux/types.h>

enum {
  HANDOFF_LAYOUT_VERSION = 1,
  // Flows when the loader says nothing; it sets the real number before the maps are made.
  HANDOFF_DEFAULT_FLOWS = 262144,
  HANDOFF_MAX_SERVICES = 1024,
};

// An address on the wire, IPv4 in its IPv4-mapped form, as four words in network order.
struct handoff_address {
  __u32 words[4];
};

// What the client dialled. Ports are in network order.
struct handoff_service_key {
  struct handoff_address address;
  __u16 port;
  __u16 zero;
};

// The 4-tuple of packets from the client: 36 bytes without padding.
struct handoff_flow_key {
  struct handoff_address client;
  struct handoff_address service;
  __u16 client_port;
  __u16 service_port;
};

enum handoff_action {
  HANDOFF_FORWARD_MAC = 1,
  HANDOFF_DELIVER_LOCALLY = 2,
};

enum handoff_flow_flag {
  HANDOFF_CLIENT_FIN = 1,
  HANDOFF_CLIENT_RST = 2,
};

// 32 bytes: with the key and the kernel's own 48 bytes an element fills a 128-byte slab object exactly.
struct handoff_flow_entry {
  __u64 handoff_id;
  // Nanoseconds of CLOCK_MONOTONIC, of the flow's latest packet; as coarse as the kernel's tick.
  __u64 last_seen;
  // The sequence number of the client's SYN, host order: tells its retransmission from a new connection.
  __u32 client_isn;
  __u16 back_end;
  __u8 action;
  __u8 flags;
  __u8 mac[6];
  __u16 zero;
};

// One record about the plane itself. Its first and third word keep their meaning in all versions.
struct handoff_state {
  __u32 layout_version;
  // skb->mark of packets for a back-end on this node.
  __u32 local_mark;
  // 1 when the loader created the clsact qdisc, so that the last one to go removes it.
  __u32 created_qdisc;
  __u32 zero;
};

// Every packet that the program sees ends in exactly one of these.
enum handoff_outcome {
  // Not TCP over IPv4 or IPv6, tagged, not addressed to this node, or to an endpoint that is not served.
  HANDOFF_NOT_SERVICE,
  // Shorter than its own headers say, or with a header length that is not allowed.
  HANDOFF_MALFORMED,
  // An IPv4 fragment of a TCP segment.
  HANDOFF_FRAGMENT,
  // IPv6 with an extension header before the transport header.
  HANDOFF_EXTENSION_HEADER,
  // A SYN without an entry.
  HANDOFF_SYN_NEW,
  // The SYN that began the flow, once more: dropped.
  HANDOFF_SYN_DUPLICATE,
  // A SYN of a new connection on the flow's tuple: the entry is deleted.
  HANDOFF_SYN_REUSED,
  // Sent on to the back-end.
  HANDOFF_FORWARDED,
  // Marked for the back-end on this node.
  HANDOFF_DELIVERED_LOCALLY,
  // To a served endpoint, without an entry.
  HANDOFF_TO_USER_SPACE,
  // The frame could not be rewritten (the kernel is out of memory): dropped, the client retransmits.
  HANDOFF_REWRITE_FAILED,
  HANDOFF_OUTCOMES,
};

struct handoff_counters {
  __u64 packets[HANDOFF_OUTCOMES];
};
