// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause
//
// Layout of the forwarding plane's BPF maps: read by the BPF program and, through the Swift importer, by its loader.
// A running kernel may hold maps of an earlier release: whoever changes the size, the order or the meaning of a field
// raises HANDOFF_LAYOUT_VERSION.
#pragma once
#include <linux/types.h>

enum {
  HANDOFF_LAYOUT_VERSION = 5,
  // Flows when the loader says nothing; it sets the real number before the maps are made.
  HANDOFF_DEFAULT_FLOWS = 262144,
  HANDOFF_MAX_SERVICES = 1024,
  HANDOFF_MAX_WORKERS = 64,
  // A SYN cookie's counter is the monotonic clock shifted by this: 68.7 s.
  HANDOFF_COOKIE_COUNTER_SHIFT = 36,
  // A key of cookies is in force for one value of the clock shifted by this: 73 minutes.
  HANDOFF_COOKIE_PERIOD_SHIFT = 42,
  // The longest packet that a ring carries: what an IP header can say.
  HANDOFF_LONGEST_PACKET = 65535,
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

// What a service entry says of its address and port.
enum handoff_service_use {
  HANDOFF_SERVED = 1,
  // With port 0: some port of the address is served, so its fragments are nobody else's.
  HANDOFF_ADDRESS_SERVED = 2,
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
  HANDOFF_FORWARD_TUNNEL = 3,
};

enum handoff_flow_flag {
  HANDOFF_CLIENT_FIN = 1,
  HANDOFF_CLIENT_RST = 2,
  // The back-end has reported the connection's end: the next SYN is a new connection.
  HANDOFF_ENDED = 4,
  // The client has acknowledged bytes of the back-end.
  HANDOFF_CLIENT_ACKNOWLEDGED = 8,
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
  union {
    // Of HANDOFF_FORWARD_MAC.
    __u8 mac[6];
    // Of HANDOFF_FORWARD_TUNNEL: which entry of the table of tunnels (tunnel.h).
    __u16 tunnel;
  };
  // The lower half of snd.nxt at the handoff, host order.
  __u16 send_next;
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

// A key of SYN cookies and the period in which cookies are made with it.
struct handoff_cookie_key {
  __u64 outer[2];
  __u64 tag;
  __u64 period;
};

enum handoff_handshake_flag {
  // SYNs are answered and bare acknowledgments absorbed here, not in user space.
  HANDOFF_ANSWERS_SYN = 1,
  // Packets for user space are copied into the workers' rings and consumed, instead of passed to netfilter.
  HANDOFF_USES_RING = 2,
  // The node drains: SYNs of new connections are dropped.
  HANDOFF_DRAINING = 4,
};

// How handshakes are answered; written by the distributor, read for each packet without a flow.
struct handoff_handshake {
  // By the lowest bit of the period, so that the next key is there long before it is needed and the last one as long
  // as its cookies live.
  struct handoff_cookie_key keys[2];
  __u64 timestamp_key[2];
  // Of the hashes of targets, the same in the whole cluster.
  __u64 target_key[2];
  // Spreads flows over workers.
  __u64 spread_key;
  __u32 flags;
  __u32 workers;
  __u16 segment_size_ipv4;
  __u16 segment_size_ipv6;
  __u16 window;
  __u8 window_scale;
  __u8 zero[9];
};

// In front of each packet in a ring; the packet begins with its IP header.
struct handoff_ring_record {
  __u32 length;
  // What follows is 0 for a packet that user space has to deal with. Else the program has handed the connection off: to
  // this back-end, under this name, with a credit of this term, for this target.
  __u32 back_end;
  __u64 handoff;
  __u64 target;
  __u32 term;
  // The worker's epoch when the credit was taken.
  __u32 epoch;
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
  // A SYN without an entry, for user space.
  HANDOFF_SYN_NEW,
  // The SYN that began the flow, once more: dropped.
  HANDOFF_SYN_DUPLICATE,
  // A SYN of a new connection on the flow's tuple, or its first acknowledgment: the entry is deleted.
  HANDOFF_SYN_REUSED,
  // Sent on to the back-end.
  HANDOFF_FORWARDED,
  // Marked for the back-end on this node.
  HANDOFF_DELIVERED_LOCALLY,
  // To a served endpoint, without an entry.
  HANDOFF_TO_USER_SPACE,
  // The frame could not be rewritten (the kernel is out of memory): dropped, the client retransmits.
  HANDOFF_REWRITE_FAILED,
  // A SYN without an entry, or on a flow whose client has closed, answered here with a cookie.
  HANDOFF_SYN_ANSWERED,
  // A SYN that cannot be answered: wrong checksum, bad options, FIN or RST beside the SYN, a source that is no host.
  HANDOFF_SYN_MALFORMED,
  // A SYN while no process of the distributor lives: dropped, so that the client repeats it.
  HANDOFF_SYN_UNATTENDED,
  // A SYN of a new connection while the node drains: dropped.
  HANDOFF_SYN_DRAINING,
  // A SYN with another number on a flow that is alive: answered with a challenge.
  HANDOFF_SYN_CHALLENGED,
  // The reset that answers the challenge: the flow's entry is deleted.
  HANDOFF_CHALLENGE_CONFIRMED,
  // The acknowledgment of a cookie, without data: consumed.
  HANDOFF_ACK_ABSORBED,
  // For user space, but its ring is full: dropped.
  HANDOFF_RING_FULL,
  // For user space, but no process of the distributor lives: dropped.
  HANDOFF_UNATTENDED,
  // Sent on to the back-end in a tunnel.
  HANDOFF_TUNNELLED,
  // The flow's tunnel is not there: dropped.
  HANDOFF_TUNNEL_UNKNOWN,
  // With the tunnel's headers too long for the way: its client is told, and user space gets it to cut it.
  HANDOFF_TUNNEL_TOO_BIG,
  // The hop limit is used up: dropped.
  HANDOFF_HOPS_EXCEEDED,
  // A router's error about a packet of the back-end, sent on to it.
  HANDOFF_ERROR_FORWARDED,
  // A request handed off here, under a lease.
  HANDOFF_HANDED_OFF,
  HANDOFF_OUTCOMES,
};

struct handoff_counters {
  __u64 packets[HANDOFF_OUTCOMES];
};
