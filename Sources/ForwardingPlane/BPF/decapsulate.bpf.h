// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// From a datagram to the IP packet in it, as if that had come by itself.
#pragma once

// Newer than the header files of some build machines (include/uapi/linux/bpf.h, Linux 6.3).
enum { DECAPSULATES_IPV4 = 1 << 7, DECAPSULATES_IPV6 = 1 << 8 };

// Takes out what lies between the Ethernet header and `start`; `ipv4` tells the family of the packet there.
static __always_inline bool take_out(struct __sk_buff *skb, __u32 start, bool ipv4) {
  __be16 type = bpf_htons(ipv4 ? ETH_P_IP : ETH_P_IPV6);
  bool changes = skb->protocol != type;
  __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | (ipv4 ? DECAPSULATES_IPV4 : DECAPSULATES_IPV6);
  if (bpf_skb_adjust_room(skb, -(__s32)(start - ETH_HLEN), BPF_ADJ_ROOM_MAC, flags)) return false;
  return !changes || bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &type, sizeof(type), 0) == 0;
}
