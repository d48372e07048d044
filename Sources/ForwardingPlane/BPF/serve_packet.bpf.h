// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// From a frame to what the serving plane's filters need to know of it.
#pragma once

struct packet {
  struct serve_key key;
  __u32 sequence;
  __u32 acknowledgment;
  bool is_ipv4, syn, fin, rst, has_payload;
};

// Success of the parsing steps; anything else is the packet's outcome.
enum { GO_ON = SERVE_OUTCOMES };

// `from_client` tells which end is the client: the sender of incoming packets, the receiver of outgoing ones.
static __always_inline int parse_tcp(
    struct __sk_buff *skb, __u32 offset, __u32 end, bool from_client, struct packet *packet) {
  if (offset + sizeof(struct tcphdr) > end) return SERVE_OUT_MALFORMED;
  struct tcphdr *tcp = header(skb, offset, sizeof(*tcp));
  if (!tcp) return SERVE_OUT_MALFORMED;
  if (tcp->doff < 5 || offset + tcp->doff * 4 > end) return SERVE_OUT_MALFORMED;
  packet->key.client_port = from_client ? tcp->source : tcp->dest;
  packet->key.service_port = from_client ? tcp->dest : tcp->source;
  packet->sequence = bpf_ntohl(tcp->seq);
  packet->acknowledgment = bpf_ntohl(tcp->ack_seq);
  packet->syn = tcp->syn;
  packet->fin = tcp->fin;
  packet->rst = tcp->rst;
  packet->has_payload = offset + tcp->doff * 4 < end;
  return GO_ON;
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, bool from_client, struct packet *packet) {
  struct iphdr *ip = header(skb, ETH_HLEN, sizeof(*ip));
  if (!ip) return SERVE_OUT_MALFORMED;
  if (ip->version != 4 || ip->ihl < 5) return SERVE_OUT_MALFORMED;
  if (ip->protocol != IPPROTO_TCP) return SERVE_OUT_NOT_SERVICE;
  if (ip->frag_off & bpf_htons(0x3fff)) return SERVE_OUT_NOT_SERVICE;  // a fragment: the kernel joins it later
  __u32 total = bpf_ntohs(ip->tot_len);
  // Segments that the kernel joined beyond 64 KB (gro_ipv4_max_size) carry a total length of 0.
  if (total == 0 && skb->gso_size) total = skb->len - ETH_HLEN;
  if (ETH_HLEN + total > skb->len) return SERVE_OUT_MALFORMED;
  __builtin_memset(&packet->key, 0, sizeof(packet->key));
  packet->is_ipv4 = true;
  packet->key.client.words[2] = packet->key.service.words[2] = bpf_htonl(0xffff);
  packet->key.client.words[3] = from_client ? ip->saddr : ip->daddr;
  packet->key.service.words[3] = from_client ? ip->daddr : ip->saddr;
  return parse_tcp(skb, ETH_HLEN + ip->ihl * 4, ETH_HLEN + total, from_client, packet);
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, bool from_client, struct packet *packet) {
  struct ipv6hdr *ip = header(skb, ETH_HLEN, sizeof(*ip));
  if (!ip) return SERVE_OUT_MALFORMED;
  if (ip->version != 6) return SERVE_OUT_MALFORMED;
  if (ip->nexthdr != IPPROTO_TCP) return SERVE_OUT_NOT_SERVICE;
  __u32 end = ETH_HLEN + sizeof(*ip) + bpf_ntohs(ip->payload_len);
  // The same for IPv6: a jumbo packet of joined segments has a payload length of 0.
  if (ip->payload_len == 0 && skb->gso_size) end = skb->len;
  if (end > skb->len) return SERVE_OUT_MALFORMED;
  packet->is_ipv4 = false;
  __builtin_memcpy(&packet->key.client, from_client ? &ip->saddr : &ip->daddr, sizeof(ip->saddr));
  __builtin_memcpy(&packet->key.service, from_client ? &ip->daddr : &ip->saddr, sizeof(ip->saddr));
  return parse_tcp(skb, ETH_HLEN + sizeof(*ip), end, from_client, packet);
}

static __always_inline int parse(struct __sk_buff *skb, bool from_client, struct packet *packet) {
  if (skb->protocol == bpf_htons(ETH_P_IP)) return parse_ipv4(skb, from_client, packet);
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) return parse_ipv6(skb, from_client, packet);
  return SERVE_OUT_NOT_SERVICE;
}
