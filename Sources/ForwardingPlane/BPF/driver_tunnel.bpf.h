// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Into the tunnel to a server node, at the driver. The frames are the same as of `tunnel.bpf.h`, but for the outer source
// port: the kernel's hash of a packet is not made yet.
#pragma once

// A flow keeps its number.
static __always_inline __u32 hash_of_flow(const struct handoff_flow_key *key) {
  __u64 mixed = (__u64)key->client_port << 16 | key->service_port;
  for (int word = 0; word < 4; word++) mixed = (mixed ^ key->client.words[word]) * 0x9e3779b97f4a7c15 ^ mixed >> 29;
  return (mixed ^ mixed >> 32) * 0xd6e8feb86659fd93 >> 32;
}

// Ethernet addresses of the way to the node; false when the kernel does not know them, or does not tell because it forwards
// nothing at this interface (sysctl net.ipv4.conf.*.forwarding, net.ipv6.conf.*.forwarding).
static __always_inline bool find_way(
    struct xdp_md *context, const struct tunnel_node *node, bool over_ipv4, struct ethhdr *ethernet) {
  struct bpf_fib_lookup way = {.ifindex = node->interface, .l4_protocol = IPPROTO_UDP};
  way.dport = bpf_htons(TUNNEL_PORT);
  if (over_ipv4) {
    way.family = 2;  // AF_INET
    way.ipv4_src = node->source.words[3];
    way.ipv4_dst = node->node.words[3];
  } else {
    way.family = 10;  // AF_INET6
    __builtin_memcpy(way.ipv6_src, &node->source, sizeof(way.ipv6_src));
    __builtin_memcpy(way.ipv6_dst, &node->node, sizeof(way.ipv6_dst));
  }
  if (bpf_fib_lookup(context, &way, sizeof(way), BPF_FIB_LOOKUP_OUTPUT) != BPF_FIB_LKUP_RET_SUCCESS) return false;
  if (way.ifindex != node->interface) return false;
  __builtin_memcpy(ethernet->h_source, way.smac, ETH_ALEN);
  __builtin_memcpy(ethernet->h_dest, way.dmac, ETH_ALEN);
  ethernet->h_proto = bpf_htons(over_ipv4 ? ETH_P_IP : ETH_P_IPV6);
  return true;
}

static __always_inline bool has_hops(struct xdp_md *context, bool ipv4) {
  if (ipv4) {
    const struct iphdr *ip = header(context, ETH_HLEN, sizeof(*ip));
    return ip && ip->ttl > 1;
  }
  const struct ipv6hdr *ip = header(context, ETH_HLEN, sizeof(*ip));
  return ip && ip->hop_limit > 1;
}

// Fills the room that was made in front of the packet.
__noinline int encapsulate(
    struct xdp_md *context, const struct ethhdr *ethernet, const struct tunnel_node *node, __u32 hash, bool ipv4) {
  if (!ethernet || !node) return 0;
  bool over_ipv4 = is_ipv4(&node->node);
  __u32 room = over_ipv4 ? sizeof(struct outer_ipv4) : sizeof(struct outer_ipv6);
  if (!decrement_hops(context, ETH_HLEN + room, ipv4)) return 0;
  __u32 length = bpf_xdp_get_buff_len(context) - ETH_HLEN;
  struct udphdr udp = outer_udp(hash, length - (room - sizeof(udp)));
  struct ethhdr *start = header(context, 0, sizeof(*start));
  if (!start) return 0;
  *start = *ethernet;
  if (over_ipv4) {
    struct outer_ipv4 *outer = header(context, ETH_HLEN, sizeof(*outer));
    if (!outer) return 0;
    *outer = make_outer_ipv4(&node->source, &node->node, &udp, length);
  } else {
    struct outer_ipv6 *outer = header(context, ETH_HLEN, sizeof(*outer));
    if (!outer) return 0;
    *outer = make_outer_ipv6(&node->source, &node->node, &udp, length);
  }
  return 1;
}
