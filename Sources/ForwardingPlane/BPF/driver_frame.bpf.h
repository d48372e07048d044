// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// A frame at the driver, by the names of `frame.bpf.h`.
#pragma once

typedef struct xdp_md hook_context;

// Of one element.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct driver_settings);
} driver_settings SEC(".maps");

static __always_inline const struct driver_settings *settings(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&driver_settings, &zero);
}

// Read anew at each use: a copy that the compiler keeps in a 32-bit register is no packet pointer for the verifier.
static __always_inline void *frame(const struct xdp_md *context) {
  return (void *)(long)*(const volatile __u32 *)&context->data;
}
static __always_inline void *frame_end(const struct xdp_md *context) {
  return (void *)(long)*(const volatile __u32 *)&context->data_end;
}

// `size` bytes of the frame from `offset` on, NULL when they are not in its first piece.
static __always_inline void *header(struct xdp_md *context, __u32 offset, __u32 size) {
  void *start = frame(context) + offset;
  return start + size <= frame_end(context) ? start : NULL;
}

// What the kernel calls PACKET_HOST is not decided yet. A tag that the device has taken off cannot be seen here.
static __always_inline bool is_for_this_node(struct xdp_md *context) {
  const struct driver_settings *set = settings();
  const struct ethhdr *ethernet = header(context, 0, sizeof(*ethernet));
  if (!set || !ethernet) return false;
  const __u16 *mac = (const __u16 *)set->mac, *destination = (const __u16 *)ethernet->h_dest;
  return !((mac[0] ^ destination[0]) | (mac[1] ^ destination[1]) | (mac[2] ^ destination[2]));
}

static __always_inline __u32 frame_length(struct xdp_md *context) { return bpf_xdp_get_buff_len(context); }

// Packets beyond 64 KB are for the program at tc.
static __always_inline __u32 joined_length(const struct xdp_md *context) {
  (void)context;
  return 0;
}
