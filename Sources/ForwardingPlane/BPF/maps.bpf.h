// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// The maps of the programs at a distributor's interface, and how packets are counted.
#pragma once

// Not LRU: an entry that the kernel evicts under load is a broken connection. A full table refuses the handoff instead.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, HANDOFF_DEFAULT_FLOWS);
  __type(key, struct handoff_flow_key);
  __type(value, struct handoff_flow_entry);
} handoff_flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 2 * HANDOFF_MAX_SERVICES);
  __type(key, struct handoff_service_key);
  __type(value, __u32);
} handoff_service SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct handoff_counters);
} handoff_counts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct handoff_state);
} handoff_state SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct handoff_handshake);
} handoff_shake SEC(".maps");

// By worker: until when it counts as alive, in nanoseconds of CLOCK_MONOTONIC.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, HANDOFF_MAX_WORKERS);
  __type(key, __u32);
  __type(value, __u64);
} handoff_alive SEC(".maps");

struct packet_ring {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 1 << 20);
};

// By worker; the loader puts in rings of its own size.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, HANDOFF_MAX_WORKERS);
  __uint(key_size, sizeof(__u32));
  __array(values, struct packet_ring);
} handoff_rings SEC(".maps");

// An array, so that a flow's packet finds its node without hashing.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, TUNNEL_MAX_NODES);
  __type(key, __u32);
  __type(value, struct tunnel_node);
} handoff_tunnels SEC(".maps");

static __always_inline void count(enum handoff_outcome outcome) {
  __u32 zero = 0;
  struct handoff_counters *counters = bpf_map_lookup_elem(&handoff_counts, &zero);
  __u32 index = outcome;
  // The compiler knows what global functions return, the verifier does not.
  asm volatile("" : "+r"(index));
  if (counters && index < HANDOFF_OUTCOMES) counters->packets[index]++;
}

// Success of the parsing steps; anything else is the packet's outcome.
enum { GO_ON = HANDOFF_OUTCOMES, FOLLOW };
