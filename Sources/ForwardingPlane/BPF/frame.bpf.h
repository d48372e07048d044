// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// A frame at tc: access to its bytes in a way that the verifier can follow, and what the kernel says of it.
// `driver_frame.bpf.h` has the same names for frames at the driver.
#pragma once

typedef struct __sk_buff hook_context;

// Read anew at each use: a copy that the compiler keeps in a 32-bit register is no packet pointer for the verifier.
static __always_inline void *frame(const struct __sk_buff *skb) {
  return (void *)(long)*(const volatile __u32 *)&skb->data;
}
static __always_inline void *frame_end(const struct __sk_buff *skb) {
  return (void *)(long)*(const volatile __u32 *)&skb->data_end;
}

// `size` bytes of the frame from `offset` on, NULL when it is shorter. Earlier pointers into the frame are void afterwards.
static __always_inline void *header(struct __sk_buff *skb, __u32 offset, __u32 size) {
  void *start = frame(skb) + offset;
  if (start + size <= frame_end(skb)) return start;
  if (bpf_skb_pull_data(skb, offset + size)) return NULL;
  start = frame(skb) + offset;
  return start + size <= frame_end(skb) ? start : NULL;
}

// Flooded frames for other nodes come by here as well (veth, promiscuous mode): forwarding them would duplicate them.
static __always_inline bool is_for_this_node(const struct __sk_buff *skb) {
  return skb->pkt_type == PACKET_HOST && !skb->vlan_present;
}

static __always_inline __u32 frame_length(const struct __sk_buff *skb) { return skb->len; }

// The length of an IPv4 packet whose header says 0: segments that the kernel joined beyond 64 KB (gro_ipv4_max_size).
static __always_inline __u32 joined_length(const struct __sk_buff *skb) {
  return skb->gso_size ? skb->len - ETH_HLEN : 0;
}
