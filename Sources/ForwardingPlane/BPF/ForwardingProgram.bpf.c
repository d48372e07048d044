// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Forwards packets of handed-off connections to their back-ends, inside the kernel, at tc ingress of a distributor.
// docs/design/forwarding.md has the picture and the reasons.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flow_table.h"

// Not LRU: an entry that the kernel evicts under load is a broken connection. A full table refuses the handoff instead.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, HANDOFF_DEFAULT_FLOWS);
  __type(key, struct handoff_flow_key);
  __type(value, struct handoff_flow_entry);
} handoff_flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, HANDOFF_MAX_SERVICES);
  __type(key, struct handoff_service_key);
  __type(value, __u32);
} handoff_service SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct handoff_counters);
} handoff_counts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct handoff_state);
} handoff_state SEC(".maps");

// What the program needs to know of one packet.
struct packet {
  struct handoff_flow_key key;
  // Of the TCP header, host order.
  __u32 sequence;
  bool syn, ack, fin, rst;
};

// TC_ACT_UNSPEC rather than TC_ACT_OK: filters of others at this hook still see the packet.
enum { PASS = TC_ACT_UNSPEC, DROP = TC_ACT_SHOT };

// Success of the parsing steps; anything else is the packet's outcome.
enum { GO_ON = HANDOFF_OUTCOMES };

static __always_inline int finish(enum handoff_outcome outcome, int verdict) {
  __u32 zero = 0;
  struct handoff_counters *counters = bpf_map_lookup_elem(&handoff_counts, &zero);
  if (counters && outcome < HANDOFF_OUTCOMES) counters->packets[outcome]++;
  return verdict;
}

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

// `offset` is where the TCP header begins, `end` where the IP packet does end, both from the start of the frame.
static __always_inline int parse_tcp(struct __sk_buff *skb, __u32 offset, __u32 end, struct packet *packet) {
  if (offset + sizeof(struct tcphdr) > end) return HANDOFF_MALFORMED;
  struct tcphdr *tcp = header(skb, offset, sizeof(*tcp));
  if (!tcp) return HANDOFF_MALFORMED;
  if (tcp->doff < 5 || offset + tcp->doff * 4 > end) return HANDOFF_MALFORMED;
  packet->key.client_port = tcp->source;
  packet->key.service_port = tcp->dest;
  packet->sequence = bpf_ntohl(tcp->seq);
  packet->syn = tcp->syn;
  packet->ack = tcp->ack;
  packet->fin = tcp->fin;
  packet->rst = tcp->rst;
  return GO_ON;
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, struct packet *packet) {
  struct iphdr *ip = header(skb, ETH_HLEN, sizeof(*ip));
  if (!ip) return HANDOFF_MALFORMED;
  if (ip->version != 4 || ip->ihl < 5) return HANDOFF_MALFORMED;
  if (ip->protocol != IPPROTO_TCP) return HANDOFF_NOT_SERVICE;
  if (ip->frag_off & bpf_htons(0x3fff)) return HANDOFF_FRAGMENT;  // more fragments, or an offset
  __u32 total = bpf_ntohs(ip->tot_len);
  // Segments that the kernel joined beyond 64 KB (gro_ipv4_max_size) carry a total length of 0.
  if (total == 0 && skb->gso_size) total = skb->len - ETH_HLEN;
  if (ETH_HLEN + total > skb->len) return HANDOFF_MALFORMED;
  __builtin_memset(&packet->key, 0, sizeof(packet->key));
  packet->key.client.words[2] = packet->key.service.words[2] = bpf_htonl(0xffff);
  packet->key.client.words[3] = ip->saddr;
  packet->key.service.words[3] = ip->daddr;
  return parse_tcp(skb, ETH_HLEN + ip->ihl * 4, ETH_HLEN + total, packet);
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

static __always_inline int parse_ipv6(struct __sk_buff *skb, struct packet *packet) {
  struct ipv6hdr *ip = header(skb, ETH_HLEN, sizeof(*ip));
  if (!ip) return HANDOFF_MALFORMED;
  if (ip->version != 6) return HANDOFF_MALFORMED;
  if (is_extension_header(ip->nexthdr)) return HANDOFF_EXTENSION_HEADER;
  if (ip->nexthdr != IPPROTO_TCP) return HANDOFF_NOT_SERVICE;
  __u32 end = ETH_HLEN + sizeof(*ip) + bpf_ntohs(ip->payload_len);
  if (end > skb->len) return HANDOFF_MALFORMED;
  __builtin_memcpy(&packet->key.client, &ip->saddr, sizeof(ip->saddr));
  __builtin_memcpy(&packet->key.service, &ip->daddr, sizeof(ip->daddr));
  return parse_tcp(skb, ETH_HLEN + sizeof(*ip), end, packet);
}

static __always_inline int parse(struct __sk_buff *skb, struct packet *packet) {
  // Flooded frames for other nodes come by here as well (veth, promiscuous mode): forwarding them would duplicate them.
  if (skb->pkt_type != PACKET_HOST || skb->vlan_present) return HANDOFF_NOT_SERVICE;
  struct ethhdr *ethernet = header(skb, 0, sizeof(*ethernet));
  if (!ethernet) return HANDOFF_MALFORMED;
  if (ethernet->h_proto == bpf_htons(ETH_P_IP)) return parse_ipv4(skb, packet);
  if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) return parse_ipv6(skb, packet);
  return HANDOFF_NOT_SERVICE;
}

static __always_inline bool is_served(const struct packet *packet) {
  struct handoff_service_key key = {.address = packet->key.service, .port = packet->key.service_port};
  return bpf_map_lookup_elem(&handoff_service, &key) != NULL;
}

static __always_inline int forward_to_mac(struct __sk_buff *skb, const struct handoff_flow_entry *entry) {
  struct ethhdr *old = header(skb, 0, sizeof(*old));
  if (!old) return finish(HANDOFF_REWRITE_FAILED, DROP);
  // From our own address, which the frame was sent to; the TTL stays, as for a bridge.
  __u8 addresses[2 * ETH_ALEN];
  __builtin_memcpy(addresses, entry->mac, ETH_ALEN);
  __builtin_memcpy(addresses + ETH_ALEN, old->h_dest, ETH_ALEN);
  if (bpf_skb_store_bytes(skb, 0, addresses, sizeof(addresses), 0)) return finish(HANDOFF_REWRITE_FAILED, DROP);
  return finish(HANDOFF_FORWARDED, bpf_redirect(skb->ifindex, 0));
}

static __always_inline int deliver_locally(struct __sk_buff *skb) {
  __u32 zero = 0;
  const struct handoff_state *state = bpf_map_lookup_elem(&handoff_state, &zero);
  if (state) skb->mark = state->local_mark;
  return finish(HANDOFF_DELIVERED_LOCALLY, PASS);
}

SEC("tc")
int handoff_forward(struct __sk_buff *skb) {
  struct packet packet;
  int parsed = parse(skb, &packet);
  if (parsed != GO_ON) return finish(parsed, PASS);
  if (!is_served(&packet)) return finish(HANDOFF_NOT_SERVICE, PASS);

  struct handoff_flow_entry *entry = bpf_map_lookup_elem(&handoff_flows, &packet.key);
  if (packet.syn && !packet.ack) {
    if (!entry) return finish(HANDOFF_SYN_NEW, PASS);
    if (entry->client_isn == packet.sequence) return finish(HANDOFF_SYN_DUPLICATE, DROP);
    // Must be gone before user space answers: the client's ACK would else be sent to the old back-end.
    // Another CPU or the loader may be faster; only the one who deletes it counts it as reused.
    bool deleted = bpf_map_delete_elem(&handoff_flows, &packet.key) == 0;
    return finish(deleted ? HANDOFF_SYN_REUSED : HANDOFF_SYN_NEW, PASS);
  }
  if (!entry) return finish(HANDOFF_TO_USER_SPACE, PASS);

  __u64 now = bpf_ktime_get_coarse_ns();
  __u8 flags = entry->flags | (packet.fin ? HANDOFF_CLIENT_FIN : 0) | (packet.rst ? HANDOFF_CLIENT_RST : 0);
  // Written only when changed: the tick is coarse, and a clean cache line stays shared.
  if (entry->last_seen != now) entry->last_seen = now;
  if (entry->flags != flags) entry->flags = flags;
  if (entry->action == HANDOFF_FORWARD_MAC) return forward_to_mac(skb, entry);
  return deliver_locally(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
