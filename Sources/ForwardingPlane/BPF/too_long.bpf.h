// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Clients' packets that do not fit the way to their back-end. A client is told as by any router (RFC 1191, RFC 8201), and
// so sends shorter ones from then on; what it has sent goes to user space, which cuts it. docs/design/tunnel.md.
#pragma once

enum {
  ICMP_NEEDS_FRAGMENTS = 4,
  ICMPV6_TOO_BIG = 2,
  // No IPv6 host sends less because of an error (RFC 8200 section 5).
  LEAST_IPV6_MTU = 1280,
};

// The error, and of the packet what tells the flow and the place in it. All of the fixed TCP header: a checksum that is left
// open lies in it.
struct told_ipv4 {
  struct iphdr ip;
  struct icmp_error error;
  struct {
    struct iphdr ip;
    struct tcphdr tcp;
  } quoted;
};
struct told_ipv6 {
  struct ipv6hdr ip;
  struct icmp_error error;
  struct {
    struct ipv6hdr ip;
    struct tcphdr tcp;
  } quoted;
};

// Bytes of the longest IP packet that leaves the machine: what the kernel joined is cut again.
static __always_inline __u32 longest_part(struct __sk_buff *skb, const struct packet *packet) {
  if (packet->error) return skb->len - ETH_HLEN;
  return (skb->gso_size ? packet->text + skb->gso_size : packet->end) - ETH_HLEN;
}

// Whether the client lets routers tell it, and can send what fits.
static __always_inline bool is_to_be_told(struct __sk_buff *skb, const struct packet *packet, __u32 limit) {
  if (!packet->ipv4) return packet->tcp == ETH_HLEN + sizeof(struct ipv6hdr) && limit >= LEAST_IPV6_MTU;
  struct iphdr ip;
  if (packet->tcp != ETH_HLEN + sizeof(ip) || bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return false;
  return ip.frag_off & bpf_htons(0x4000);
}

// The unfolded sum of the quoted header, as a receiver sees it. Whoever completes an open checksum later puts the
// complement of everything else into the field, so that the sum is known before: that of the pseudo header, complemented
// (Documentation/networking/checksum-offloads.rst, "LCO").
static __always_inline __u64 quoted_sum(const struct packet *packet, struct tcphdr *tcp) {
  __u64 pseudo = pseudo_sum(&packet->key, packet->ipv4, packet->end - packet->tcp);
  if (tcp->check == fold(pseudo)) return (__u16)~tcp->check;
  return (__u32)bpf_csum_diff(NULL, 0, (__be32 *)tcp, sizeof(*tcp), 0);
}

static __always_inline bool put_ethernet_back(struct __sk_buff *skb) {
  struct ethhdr *ethernet = header(skb, 0, sizeof(*ethernet));
  if (!ethernet) return false;
  __u8 addresses[2 * ETH_ALEN];
  __builtin_memcpy(addresses, ethernet->h_source, ETH_ALEN);
  __builtin_memcpy(addresses + ETH_ALEN, ethernet->h_dest, ETH_ALEN);
  return bpf_skb_store_bytes(skb, 0, addresses, sizeof(addresses), 0) == 0;
}

static __noinline bool tell_ipv4(struct __sk_buff *skb, const struct packet *packet, __u32 limit) {
  struct told_ipv4 told = {
      .ip = {.version = 4, .ihl = 5, .tot_len = bpf_htons(sizeof(told)), .frag_off = bpf_htons(0x4000), .ttl = 64,
             .protocol = IPPROTO_ICMP, .saddr = packet->key.service.words[3], .daddr = packet->key.client.words[3]},
      .error = {.type = ICMP_UNREACHABLE, .code = ICMP_NEEDS_FRAGMENTS, .more = bpf_htonl(limit)},
  };
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &told.quoted, sizeof(told.quoted))) return false;
  told.ip.check = ~fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)&told.ip, sizeof(told.ip), 0));
  __u64 sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&told.error, sizeof(told.error), 0);
  sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&told.quoted.ip, sizeof(told.quoted.ip), 0);
  told.error.checksum = ~fold(sum + quoted_sum(packet, &told.quoted.tcp));
  if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(told.quoted), 0)) return false;
  if (bpf_skb_adjust_room(skb, sizeof(told) - sizeof(told.quoted), BPF_ADJ_ROOM_MAC, 0)) return false;
  return bpf_skb_store_bytes(skb, ETH_HLEN, &told, sizeof(told), 0) == 0 && put_ethernet_back(skb);
}

static __noinline bool tell_ipv6(struct __sk_buff *skb, const struct packet *packet, __u32 limit) {
  __u32 length = sizeof(struct told_ipv6) - sizeof(struct ipv6hdr);
  struct told_ipv6 told = {
      .ip = {.version = 6, .payload_len = bpf_htons(length), .nexthdr = IPPROTO_ICMPV6, .hop_limit = 64},
      .error = {.type = ICMPV6_TOO_BIG, .more = bpf_htonl(limit)},
  };
  __builtin_memcpy(&told.ip.saddr, &packet->key.service, sizeof(told.ip.saddr));
  __builtin_memcpy(&told.ip.daddr, &packet->key.client, sizeof(told.ip.daddr));
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &told.quoted, sizeof(told.quoted))) return false;
  __u64 sum = bpf_htonl(length + IPPROTO_ICMPV6);
  sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&told.ip.saddr, 2 * sizeof(told.ip.saddr), 0);
  sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&told.error, sizeof(told.error), 0);
  sum += (__u32)bpf_csum_diff(NULL, 0, (__be32 *)&told.quoted.ip, sizeof(told.quoted.ip), 0);
  told.error.checksum = ~fold(sum + quoted_sum(packet, &told.quoted.tcp));
  if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(told.quoted), 0)) return false;
  if (bpf_skb_adjust_room(skb, sizeof(told) - sizeof(told.quoted), BPF_ADJ_ROOM_MAC, 0)) return false;
  return bpf_skb_store_bytes(skb, ETH_HLEN, &told, sizeof(told), 0) == 0 && put_ethernet_back(skb);
}

// The end of a packet that is longer than `limit`, the bytes that the way takes.
__noinline int too_long(struct __sk_buff *skb, const struct packet *packet, __u32 limit) {
  // Nobody is told about an error (RFC 1122 section 3.2.2).
  if (!packet || packet->error) return finish(HANDOFF_TUNNEL_TOO_BIG, DROP);
  bool tells = is_to_be_told(skb, packet, limit);
  enum handoff_outcome outcome = HANDOFF_TUNNEL_TOO_BIG;
  const struct handoff_handshake *shake = handshake();
  if (shake && shake->flags & HANDOFF_USES_RING) {
    __u32 worker = worker_of(shake, &packet->key);
    struct handoff_ring_record record = {};
    if (!is_alive(worker, bpf_ktime_get_coarse_ns())) {
      outcome = HANDOFF_UNATTENDED;
    } else if (!copy_to_ring(skb, packet, worker, &record, BPF_RB_FORCE_WAKEUP)) {
      outcome = HANDOFF_RING_FULL;
    }
  } else if (!tells) {
    // By netfilter's queue.
    return finish(outcome, PASS);
  }
  if (!tells) return finish(outcome, CONSUMED);
  bool told = packet->ipv4 ? tell_ipv4(skb, packet, limit) : tell_ipv6(skb, packet, limit);
  return told ? finish(outcome, bpf_redirect(skb->ifindex, 0)) : finish(HANDOFF_REWRITE_FAILED, DROP);
}
