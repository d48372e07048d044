// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// The outer headers of a tunnel (tunnel.h).
#pragma once

struct outer_ipv4 {
  struct iphdr ip;
  struct udphdr udp;
};
struct outer_ipv6 {
  struct ipv6hdr ip;
  struct udphdr udp;
};

// As every router does, with the IP header at `offset`; false when the packet has come too far.
static __always_inline bool decrement_hops(hook_context *context, __u32 offset, bool ipv4) {
  if (ipv4) {
    struct iphdr *ip = header(context, offset, sizeof(*ip));
    if (!ip || ip->ttl <= 1) return false;
    // RFC 1624 for a decrement of the upper byte, as ip_decrease_ttl() in include/net/ip.h.
    __u32 check = ip->check + bpf_htons(0x0100);
    ip->check = check + (check >= 0xffff);
    ip->ttl--;
    return true;
  }
  struct ipv6hdr *ip = header(context, offset, sizeof(*ip));
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

// `length` is that of what follows the Ethernet header.
static __always_inline struct outer_ipv4 make_outer_ipv4(
    const struct handoff_address *source, const struct handoff_address *node, const struct udphdr *udp, __u32 length) {
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
  return outer;
}

static __always_inline struct outer_ipv6 make_outer_ipv6(
    const struct handoff_address *source, const struct handoff_address *node, const struct udphdr *udp, __u32 length) {
  length -= sizeof(struct ipv6hdr);
  struct outer_ipv6 outer = {
      .ip = {.version = 6, .nexthdr = IPPROTO_UDP, .hop_limit = TUNNEL_HOP_LIMIT},
      .udp = *udp,
  };
  outer.ip.payload_len = bpf_htons(length > 0xffff ? 0xffff : length);
  __builtin_memcpy(&outer.ip.saddr, source, sizeof(outer.ip.saddr));
  __builtin_memcpy(&outer.ip.daddr, node, sizeof(outer.ip.daddr));
  return outer;
}

static __always_inline bool is_ipv4(const struct handoff_address *address) {
  return address->words[2] == bpf_htonl(0xffff) && !address->words[0] && !address->words[1];
}
