// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// The maps of the serving plane (serve_plane.h has their layout).
#pragma once

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SERVE_MAX_PENDING);
  __type(key, struct serve_key);
  __type(value, struct serve_pending);
} serve_waiting SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SERVE_MAX_SERVICES);
  __type(key, struct serve_service_key);
  __type(value, struct serve_listener);
} serve_services SEC(".maps");

// Connections without a record of their own, as their ends must be told to somebody: value is the token.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SERVE_MAX_ADOPTED);
  __type(key, struct serve_key);
  __type(value, struct serve_connection);
} serve_adopted SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SERVE_MAX_SILENCED);
  __type(key, struct serve_key);
  __type(value, __u32);
} serve_silenced SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct serve_connection);
} serve_records SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct serve_counters);
} serve_counts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct serve_settings);
} serve_settings SEC(".maps");

struct ring {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, SERVE_RING_BYTES);
};

// One ring for each event loop, so that each reads its own events without a lock.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, SERVE_MAX_LOOPS);
  __type(key, __u32);
  __array(values, struct ring);
} serve_rings SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, SERVE_MAX_LOOPS);
  __type(key, __u32);
  __type(value, struct serve_attention);
} serve_watching SEC(".maps");

// The latest handoffs by packet, so that each makes one connection at most.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SERVE_MAX_SEEN);
  __type(key, struct serve_handoff);
  __type(value, __u32);
} serve_seen SEC(".maps");
