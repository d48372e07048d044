// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// From a frame to what the program needs to know of it.
#pragma once

// What the program needs to know of one packet.
struct packet {
  struct handoff_flow_key key;
  // Of the TCP header, host order.
  __u32 sequence, acknowledgment;
  // From the start of the frame: the TCP header, its end, and the end of the IP packet.
  __u32 tcp, text, end;
  // As it stands in the TCP header.
  __sum16 checksum;
  bool syn, ack, fin, rst;
  bool ipv4;
  // An ICMP error about a packet of the flow: of the TCP header nothing is known.
  bool error;
};

// Whether the value lies between the bounds, in a way that the verifier can follow: the compiler would join the two
// comparisons into one of another register.
static __always_inline bool within(__u64 *value, __u64 least, __u64 most) {
  if (*value > most) return false;
  asm volatile("" : "+r"(*value));
  if (*value < least) return false;
  asm volatile("" : "+r"(*value));
  return true;
}

// `offset` is where the TCP header begins, `end` where the IP packet does end, both from the start of the frame.
static __always_inline int parse_tcp(hook_context *context, __u32 offset, __u32 end, struct packet *packet) {
  if (offset + sizeof(struct tcphdr) > end) return HANDOFF_MALFORMED;
  struct tcphdr *tcp = header(context, offset, sizeof(*tcp));
  if (!tcp) return HANDOFF_MALFORMED;
  if (tcp->doff < 5 || offset + tcp->doff * 4 > end) return HANDOFF_MALFORMED;
  packet->error = false;
  packet->key.client_port = tcp->source;
  packet->key.service_port = tcp->dest;
  packet->sequence = bpf_ntohl(tcp->seq);
  packet->acknowledgment = bpf_ntohl(tcp->ack_seq);
  packet->tcp = offset;
  packet->text = offset + tcp->doff * 4;
  packet->end = end;
  packet->checksum = tcp->check;
  packet->syn = tcp->syn;
  packet->ack = tcp->ack;
  packet->fin = tcp->fin;
  packet->rst = tcp->rst;
  return GO_ON;
}

static __always_inline int parse_ipv4(hook_context *context, struct packet *packet) {
  struct iphdr *ip = header(context, ETH_HLEN, sizeof(*ip));
  if (!ip) return HANDOFF_MALFORMED;
  if (ip->version != 4 || ip->ihl < 5) return HANDOFF_MALFORMED;
  packet->ipv4 = true;
  if (ip->protocol == IPPROTO_ICMP && !(ip->frag_off & bpf_htons(0x3fff))) {
    packet->error = true;
    return parse_icmp(context, ETH_HLEN + ip->ihl * 4, &packet->key);
  }
  if (ip->protocol != IPPROTO_TCP) return HANDOFF_NOT_SERVICE;
  __builtin_memset(&packet->key, 0, sizeof(packet->key));
  packet->key.client.words[2] = packet->key.service.words[2] = bpf_htonl(0xffff);
  packet->key.client.words[3] = ip->saddr;
  packet->key.service.words[3] = ip->daddr;
  if (ip->frag_off & bpf_htons(0x3fff)) return HANDOFF_FRAGMENT;  // more fragments, or an offset
  __u32 total = bpf_ntohs(ip->tot_len);
  if (total == 0) total = joined_length(context);
  if (ETH_HLEN + total > frame_length(context)) return HANDOFF_MALFORMED;
  return parse_tcp(context, ETH_HLEN + ip->ihl * 4, ETH_HLEN + total, packet);
}

static __always_inline bool is_extension_header(__u8 next_header) {
  switch (next_header) {
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_FRAGMENT:
    case IPPROTO_AH:
    case IPPROTO_DSTOPTS:
    case IPPROTO_MH: return true;
    default: return false;
  }
}

static __always_inline int parse_ipv6(hook_context *context, struct packet *packet) {
  struct ipv6hdr *ip = header(context, ETH_HLEN, sizeof(*ip));
  if (!ip) return HANDOFF_MALFORMED;
  if (ip->version != 6) return HANDOFF_MALFORMED;
  if (is_extension_header(ip->nexthdr)) return HANDOFF_EXTENSION_HEADER;
  packet->ipv4 = false;
  if (ip->nexthdr == IPPROTO_ICMPV6) {
    packet->error = true;
    return parse_icmpv6(context, ETH_HLEN + sizeof(*ip), &packet->key);
  }
  if (ip->nexthdr != IPPROTO_TCP) return HANDOFF_NOT_SERVICE;
  __u32 end = ETH_HLEN + sizeof(*ip) + bpf_ntohs(ip->payload_len);
  if (end > frame_length(context)) return HANDOFF_MALFORMED;
  __builtin_memcpy(&packet->key.client, &ip->saddr, sizeof(ip->saddr));
  __builtin_memcpy(&packet->key.service, &ip->daddr, sizeof(ip->daddr));
  return parse_tcp(context, ETH_HLEN + sizeof(*ip), end, packet);
}

// Global, not static: the verifier looks at it once, whatever comes after it.
__noinline int parse(hook_context *context, struct packet *packet) {
  if (!packet) return HANDOFF_MALFORMED;
  if (!is_for_this_node(context)) return HANDOFF_NOT_SERVICE;
  struct ethhdr *ethernet = header(context, 0, sizeof(*ethernet));
  if (!ethernet) return HANDOFF_MALFORMED;
  if (ethernet->h_proto == bpf_htons(ETH_P_IP)) return parse_ipv4(context, packet);
  if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) return parse_ipv6(context, packet);
  return HANDOFF_NOT_SERVICE;
}
