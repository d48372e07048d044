// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause
//
// Layout of the serving plane's BPF maps: read by the BPF programs and, through the Swift importer, by their loader. The
// maps live as long as the agent that made them and are never taken over by another one.
#pragma once
#include <linux/types.h>

enum {
  SERVE_MAX_SERVICES = 1024,
  // Connections being installed at one moment, for all event loops together.
  SERVE_MAX_PENDING = 65536,
  // Connections that a killed predecessor left open.
  SERVE_MAX_ADOPTED = 1048576,
  SERVE_MAX_SILENCED = 4096,
  SERVE_MAX_LOOPS = 64,
  // The latest handoffs by packet of which a second copy is known as such.
  SERVE_MAX_SEEN = 65536,
  // Ends that wake a loop although it has promised to look.
  SERVE_TOLD_TOGETHER = 32,
  // Bytes of each event loop's ring: a power of two, a multiple of the page.
  SERVE_RING_BYTES = 1048576,
};

// An address on the wire, IPv4 in its IPv4-mapped form, as four words in network order.
struct serve_address {
  __u32 words[4];
};

// A connection as its client sees it; ports in network order. 36 bytes without padding.
struct serve_key {
  struct serve_address client;
  struct serve_address service;
  __u16 client_port;
  __u16 service_port;
};

// What the client dialled.
struct serve_service_key {
  struct serve_address address;
  __u16 port;
  __u16 zero;
};

// Where the web server listens if it does not listen at the dialled address. The port in network order.
struct serve_listener {
  struct serve_address address;
  __u16 port;
  __u16 zero;
};

enum serve_option {
  SERVE_WINDOW_SCALE = 1,
  SERVE_SACK = 2,
  SERVE_TIMESTAMPS = 4,
};

// What has become of a pending connection; written by the program.
enum serve_result {
  // Its segment has not come by.
  SERVE_WAITING,
  // Given to the listener. If the entry is still there the connection did not come to be (the accept queue was full), or the
  // tracepoint's program was not run for it.
  SERVE_ASSIGNED,
  // Another connection, or what is left of one, has the 4-tuple.
  SERVE_TUPLE_BUSY,
  // Nobody listens.
  SERVE_NO_LISTENER,
  // The kernel refused: see `error`.
  SERVE_REFUSED,
};

// A connection that waits for its first segment. Sequence numbers and timestamps in host order.
struct serve_pending {
  // Given back in the connection's events.
  __u64 token;
  // 0 for a token of the agent; else the distributor's worker to whom the token says something.
  __u64 origin;
  __u32 sequence;
  __u32 acknowledgment;
  __u32 timestamp_value;
  __u32 timestamp_echo;
  __u16 mss;
  __u8 send_scale;
  __u8 receive_scale;
  __u8 options;
  __u8 loop;
  __u8 result;
  __u8 zero;
  __s32 error;
  __u32 padding;
};

// One record of settings.
struct serve_settings {
  // Of the agent's network namespace: the tracepoint sees all of the kernel's.
  __u64 namespace_cookie;
  // Look untracked connections up in the adopted ones as well; 0 spares closing sockets the lookup.
  __u32 adopts;
  __u32 loops;
  // Of the tags of handoffs by packet.
  __u64 key[2];
  // The UDP port of handoffs by packet, in network order; 0 while none are taken.
  __u16 packet_port;
  __u16 zero[3];
};

// What an event loop promises, in nanoseconds of CLOCK_MONOTONIC. Shared memory of the agent.
struct serve_attention {
  // Until then it looks at its ring without being woken, but for many events.
  __u64 watching;
  // Until then it takes handoffs by packet: a process that hangs takes none.
  __u64 alive;
  // Events since it looked, as the kernel counts them.
  __u64 told;
};

// A handoff by packet.
struct serve_handoff {
  __u64 origin;
  __u64 handoff;
};

enum serve_event_kind {
  SERVE_ESTABLISHED = 1,
  SERVE_ENDED = 2,
  // A handoff by packet that no connection came of, and none will: `last_state` is its enum serve_result.
  SERVE_DECLINED = 3,
};

// What an event loop is told of one of its connections.
struct serve_event {
  __u64 token;
  __u64 origin;
  // Payload that the client sent and the server's TCP took; what the client acknowledged.
  __u64 bytes_from_client;
  __u64 bytes_to_client;
  // Nanoseconds from the establishment to the end.
  __u64 duration;
  __u32 kind;
  // The state before the end (enum of tcp_states.h).
  __u16 last_state;
  // sk_err: 0 or why the connection was cut.
  __u16 error;
  // Of a connection with an origin, when it is established.
  struct serve_key key;
  __u32 zero;
};

// What the tracepoint keeps with a socket.
struct serve_connection {
  __u64 token;
  __u64 origin;
  __u64 since;
  __u32 loop;
  // Its end has been told.
  __u32 is_over;
};

// Every packet that the ingress program sees ends in exactly one of these.
enum serve_outcome {
  // Not TCP over IPv4 or IPv6, tagged, not addressed to this node, a fragment, or to an endpoint that is not served.
  SERVE_OUT_NOT_SERVICE,
  SERVE_OUT_MALFORMED,
  // A SYN; the kernel answers it like that of any node.
  SERVE_OUT_SYN,
  // Without payload, or FIN or RST: the kernel's own treatment, whether there is a connection or not.
  SERVE_OUT_CONTROL,
  // Payload for a connection of this node.
  SERVE_OUT_CONNECTION,
  // Payload without a connection: dropped, so that the kernel does not reset what may be just being installed or moved.
  SERVE_OUT_NO_CONNECTION,
  // The segment of a pending connection, by what became of it.
  SERVE_OUT_ASSIGNED,
  SERVE_OUT_TUPLE_BUSY,
  SERVE_OUT_NO_LISTENER,
  SERVE_OUT_REFUSED,
  // A handoff by packet: dropped as malformed, with a wrong tag, as one more copy, because no agent takes it or because the
  // kernel has no memory; or given to the listener. The rest ends as the segment of a pending connection does.
  SERVE_OUT_HANDOFF_MALFORMED,
  SERVE_OUT_HANDOFF_FORGED,
  SERVE_OUT_HANDOFF_REPEATED,
  SERVE_OUT_HANDOFF_UNATTENDED,
  SERVE_OUT_HANDOFF_FAILED,
  SERVE_OUT_HANDOFF_ASSIGNED,
  SERVE_OUTCOMES,
};

// What the tracepoint saw: each established or ended connection is counted once, besides in `events_lost` when its event
// found the ring full.
struct serve_counters {
  __u64 packets[SERVE_OUTCOMES];
  __u64 established;
  __u64 ended;
  __u64 events_lost;
  // Connections without a record of their own: the kernel had no memory. Their end shows only when the table is compared.
  __u64 untracked;
  // Resets of connections that are to end unseen.
  __u64 silenced;
};
