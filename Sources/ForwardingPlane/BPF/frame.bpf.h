// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Access to the bytes of a frame in a way that the verifier can follow.
#pragma once

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
