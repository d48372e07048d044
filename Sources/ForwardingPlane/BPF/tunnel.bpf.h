// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Into the tunnel to a server node on another network (tunnel.h).
#pragma once

static __always_inline long write_outer_ipv4(
    struct __sk_buff *skb, const struct handoff_address *source, const struct handoff_address *node,
    const struct udphdr *udp) {
  struct outer_ipv4 outer = make_outer_ipv4(source, node, udp, skb->len - ETH_HLEN);
  return bpf_skb_store_bytes(skb, ETH_HLEN, &outer, sizeof(outer), 0);
}

static __always_inline long write_outer_ipv6(
    struct __sk_buff *skb, const struct handoff_address *source, const struct handoff_address *node,
    const struct udphdr *udp) {
  struct outer_ipv6 outer = make_outer_ipv6(source, node, udp, skb->len - ETH_HLEN);
  return bpf_skb_store_bytes(skb, ETH_HLEN, &outer, sizeof(outer), 0);
}

// Bytes of the longest IP packet that gets to a node; 0 when its interface is gone.
static __always_inline __u32 mtu_of_way(struct __sk_buff *skb, const struct tunnel_node *node) {
  __u32 mtu = 0;
  bpf_check_mtu(skb, node->interface, &mtu, 0, 0);
  return node->mtu && node->mtu < mtu ? node->mtu : mtu;
}

__noinline int forward_by_tunnel(
    struct __sk_buff *skb, const struct packet *packet, const struct handoff_flow_entry *entry,
    enum handoff_outcome outcome) {
  if (!packet || !entry) return DROP;
  __u32 slot = entry->tunnel;
  const struct tunnel_node *node = bpf_map_lookup_elem(&handoff_tunnels, &slot);
  if (!node || node->interface == 0) return finish(HANDOFF_TUNNEL_UNKNOWN, DROP);
  bool over_ipv4 = is_ipv4(&node->node);
  __u32 room = over_ipv4 ? sizeof(struct outer_ipv4) : sizeof(struct outer_ipv6);
  __u32 mtu = mtu_of_way(skb, node);
  if (mtu <= room) return finish(HANDOFF_TUNNEL_UNKNOWN, DROP);
  if (longest_part(skb, packet) > mtu - room) return too_long(skb, packet, mtu - room);
  if (!decrement_hops(skb, ETH_HLEN, packet->ipv4)) return finish(HANDOFF_HOPS_EXCEEDED, DROP);
  __u32 hash = bpf_get_hash_recalc(skb);
  __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
                (over_ipv4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6);
  if (bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, flags)) return finish(HANDOFF_REWRITE_FAILED, DROP);
  __u32 above = over_ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
  struct udphdr udp = outer_udp(hash, skb->len - ETH_HLEN - above);
  long written = over_ipv4 ? write_outer_ipv4(skb, &node->source, &node->node, &udp)
                           : write_outer_ipv6(skb, &node->source, &node->node, &udp);
  if (written) return finish(HANDOFF_REWRITE_FAILED, DROP);
  // Route and neighbour of the outer header; the frame gets its addresses and its type there.
  return finish(outcome, bpf_redirect_neigh(node->interface, NULL, 0, 0));
}
