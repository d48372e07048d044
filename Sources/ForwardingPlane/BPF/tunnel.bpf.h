// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Into the tunnel to a server node on another network (tunnel.h).
#pragma once

// An array, so that a flow's packet finds its node without hashing.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, TUNNEL_MAX_NODES);
  __type(key, __u32);
  __type(value, struct tunnel_node);
} handoff_tunnels SEC(".maps");

struct outer_ipv4 {
  struct iphdr ip;
  struct udphdr udp;
};
struct outer_ipv6 {
  struct ipv6hdr ip;
  struct udphdr udp;
};

// As every router does; false when the packet has come too far.
static __always_inline bool decrement_hops(struct __sk_buff *skb, bool ipv4) {
  if (ipv4) {
    struct iphdr *ip = header(skb, ETH_HLEN, sizeof(*ip));
    if (!ip || ip->ttl <= 1) return false;
    // RFC 1624 for a decrement of the upper byte, as ip_decrease_ttl() in include/net/ip.h.
    __u32 check = ip->check + bpf_htons(0x0100);
    ip->check = check + (check >= 0xffff);
    ip->ttl--;
    return true;
  }
  struct ipv6hdr *ip = header(skb, ETH_HLEN, sizeof(*ip));
  if (!ip || ip->hop_limit <= 1) return false;
  ip->hop_limit--;
  return true;
}

static __always_inline struct udphdr outer_udp(__u32 hash, __u32 length) {
  return (struct udphdr){
      // A flow keeps its port, so that routers with several ways keep it on one (RFC 7510 has the same rule).
      .source = bpf_htons(0xc000 | (hash & 0x3fff)),
      .dest = bpf_htons(TUNNEL_PORT),
      .len = bpf_htons(length > 0xffff ? 0xffff : length),
      // Allowed for tunnels in both families (RFC 6935); the client's packet has a checksum of its own.
      .check = 0,
  };
}

static __always_inline __sum16 ipv4_checksum(const struct iphdr *ip) {
  const __u16 *words = (const __u16 *)ip;
  __u32 sum = 0;
#pragma unroll
  for (int index = 0; index < (int)sizeof(*ip) / 2; index++) sum += words[index];
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

static __always_inline long write_outer_ipv4(
    struct __sk_buff *skb, const struct handoff_address *source, const struct handoff_address *node,
    const struct udphdr *udp) {
  __u32 length = skb->len - ETH_HLEN;
  struct outer_ipv4 outer = {
      .ip = {.version = 4, .ihl = 5, .ttl = TUNNEL_HOP_LIMIT, .protocol = IPPROTO_UDP},
      .udp = *udp,
  };
  // What the kernel joined is cut to right lengths again before it leaves the machine.
  outer.ip.tot_len = bpf_htons(length > 0xffff ? 0xffff : length);
  outer.ip.frag_off = bpf_htons(0x4000);  // not to be fragmented: then the identification may be 0 (RFC 6864)
  outer.ip.saddr = source->words[3];
  outer.ip.daddr = node->words[3];
  outer.ip.check = ipv4_checksum(&outer.ip);
  return bpf_skb_store_bytes(skb, ETH_HLEN, &outer, sizeof(outer), 0);
}

static __always_inline long write_outer_ipv6(
    struct __sk_buff *skb, const struct handoff_address *source, const struct handoff_address *node,
    const struct udphdr *udp) {
  __u32 length = skb->len - ETH_HLEN - sizeof(struct ipv6hdr);
  struct outer_ipv6 outer = {
      .ip = {.version = 6, .nexthdr = IPPROTO_UDP, .hop_limit = TUNNEL_HOP_LIMIT},
      .udp = *udp,
  };
  outer.ip.payload_len = bpf_htons(length > 0xffff ? 0xffff : length);
  __builtin_memcpy(&outer.ip.saddr, source, sizeof(outer.ip.saddr));
  __builtin_memcpy(&outer.ip.daddr, node, sizeof(outer.ip.daddr));
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
  bool over_ipv4 = node->node.words[2] == bpf_htonl(0xffff) && !node->node.words[0] && !node->node.words[1];
  __u32 room = over_ipv4 ? sizeof(struct outer_ipv4) : sizeof(struct outer_ipv6);
  __u32 mtu = mtu_of_way(skb, node);
  if (mtu <= room) return finish(HANDOFF_TUNNEL_UNKNOWN, DROP);
  if (longest_part(skb, packet) > mtu - room) return too_long(skb, packet, mtu - room);
  if (!decrement_hops(skb, packet->ipv4)) return finish(HANDOFF_HOPS_EXCEEDED, DROP);
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
