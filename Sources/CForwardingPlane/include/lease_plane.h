// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause
//
// What the program at a distributor's interface needs to hand connections off by itself: decisions that a worker may repeat
// under leases of the dispatcher, and the ways of handoffs by packet. docs/design/leased-handoff.md has the picture and the
// reasons.
#pragma once
#include <linux/types.h>

#include "flow_table.h"

enum {
  LEASE_MAX_BACK_ENDS = 256,
  LEASE_MAX_TARGETS = 65536,
  LEASE_MAX_NODES = HANDOFF_MAX_WORKERS * 64,
  LEASE_MAX_CLAIMS = 65536,
  // Bytes of path and query that the program hashes; longer ones go to user space.
  LEASE_LONGEST_TARGET = 128,
  // Bytes of a datagram's payload at most, as `HandoffPacket.limit`.
  LEASE_LONGEST_HANDOFF = 1400,
  // How long a worker that was woken for a handoff is not woken for others, in nanoseconds of the coarse clock.
  LEASE_TOLD_WITHIN = 50000000,
};

// A target, as the worker knows it that asked last: what one has learned is good for all, and each has its own credits. A new
// epoch makes all targets unknown at once.
struct lease_target_key {
  // `TargetHash` of path and query.
  __u64 target;
  // `targets` of the first worker's record.
  __u64 epoch;
};

struct lease_target {
  // Nanoseconds of CLOCK_MONOTONIC.
  __u64 expires;
  __u32 back_end;
  __u32 zero;
};

struct lease_node_key {
  __u32 worker;
  __u32 back_end;
};

// How a worker's handoffs get to one back-end.
struct lease_node {
  // The node's internal address, and the distributor's: of one family.
  struct handoff_address node, source;
  // Of the tags of handoffs by packet.
  __u64 key[2];
  // Where the node takes them, network order.
  __u16 port;
  // Which of the agent's event loops is told.
  __u8 loop;
  // enum lease_family.
  __u8 families;
  // enum handoff_action, and what belongs to it, as in a flow's entry.
  __u8 action;
  __u8 zero;
  union {
    __u8 mac[6];
    __u16 tunnel;
  };
  // Index of the interface that leads there.
  __u32 interface;
  // Bytes of the longest packet that gets there.
  __u32 mtu;
  __u32 padding;
};

// Clients that the node's listener can take.
enum lease_family {
  LEASE_IPV4 = 1,
  LEASE_IPV6 = 2,
};

// Credits of one back-end in its low half, and in its high half the term that they were granted in: both change at once.
// Each handoff takes one.
struct lease_purse {
  __u64 credits;
  // Nanoseconds of CLOCK_MONOTONIC.
  __u64 expires;
};

// A worker's record, written by both sides: the worker has it mapped.
struct lease_worker {
  // Names the worker in handoffs (`HandoffOrigin`); 0 while it lends nothing.
  __u64 origin;
  // Handoffs made so far.
  __u64 made;
  // Until when the worker need not be woken for one, since it looks by then, in nanoseconds of CLOCK_MONOTONIC.
  __u64 looks;
  __u64 epoch;
  // In the first worker's record: the epoch of the targets of all.
  __u64 targets;
  struct lease_purse purses[LEASE_MAX_BACK_ENDS];
};
