// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// At tc ingress of a server node: takes packets of handed-off connections out of the tunnel from their distributor, so that
// the node's TCP sees them as the client sent them. docs/design/tunnel.md has the picture and the reasons.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "tunnel.h"

#include "decapsulate.bpf.h"

// The distributors of the cluster, by internal address.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, TUNNEL_MAX_PEERS);
  __type(key, struct handoff_address);
  __type(value, __u32);
} tunnel_peers SEC(".maps");

// The addresses that this node serves.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, TUNNEL_MAX_ADDRESSES);
  __type(key, struct handoff_address);
  __type(value, __u32);
} tunnel_served SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct tunnel_counters);
} tunnel_counts SEC(".maps");

enum { PASS = TC_ACT_UNSPEC, DROP = TC_ACT_SHOT };
enum { GO_ON = TUNNEL_OUTCOMES };

static __always_inline int finish(enum tunnel_outcome outcome, int verdict) {
  __u32 zero = 0;
  struct tunnel_counters *counters = bpf_map_lookup_elem(&tunnel_counts, &zero);
  if (counters && outcome < TUNNEL_OUTCOMES) counters->packets[outcome]++;
  return verdict;
}

static __always_inline struct handoff_address mapped(__u32 ipv4) {
  return (struct handoff_address){.words = {0, 0, bpf_htonl(0xffff), ipv4}};
}

// One IP header of a frame.
struct layer {
  struct handoff_address source, destination;
  // From the start of the frame: what follows the header, and the end of the packet.
  __u32 text, end;
  __u8 protocol;
  bool ipv4, fragment;
};

static __always_inline bool read_ipv4(struct __sk_buff *skb, __u32 offset, struct layer *layer) {
  struct iphdr ip;
  if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5) return false;
  layer->source = mapped(ip.saddr);
  layer->destination = mapped(ip.daddr);
  layer->protocol = ip.protocol;
  layer->fragment = ip.frag_off & bpf_htons(0x3fff);
  layer->ipv4 = true;
  __u32 total = bpf_ntohs(ip.tot_len);
  // Segments that the kernel joined may be longer than the field can say, or say the length of all of them.
  if (skb->gso_size) total = skb->len - offset;
  layer->text = offset + ip.ihl * 4;
  layer->end = offset + total;
  return layer->text <= layer->end && layer->end <= skb->len;
}

static __always_inline bool read_ipv6(struct __sk_buff *skb, __u32 offset, struct layer *layer) {
  struct ipv6hdr ip;
  if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version != 6) return false;
  __builtin_memcpy(&layer->source, &ip.saddr, sizeof(layer->source));
  __builtin_memcpy(&layer->destination, &ip.daddr, sizeof(layer->destination));
  layer->protocol = ip.nexthdr;
  layer->fragment = ip.nexthdr == IPPROTO_FRAGMENT;
  layer->ipv4 = false;
  layer->text = offset + sizeof(ip);
  layer->end = skb->gso_size ? skb->len : layer->text + bpf_ntohs(ip.payload_len);
  return layer->end <= skb->len;
}

static __always_inline int read_outer(struct __sk_buff *skb, struct layer *outer) {
  if (skb->pkt_type != PACKET_HOST || skb->vlan_present) return TUNNEL_OTHER;
  struct ethhdr ethernet;
  if (bpf_skb_load_bytes(skb, 0, &ethernet, sizeof(ethernet))) return TUNNEL_OTHER;
  // What is not readable as IP is the stack's business, as without this program.
  if (ethernet.h_proto == bpf_htons(ETH_P_IP)) {
    if (!read_ipv4(skb, ETH_HLEN, outer)) return TUNNEL_OTHER;
  } else if (ethernet.h_proto == bpf_htons(ETH_P_IPV6)) {
    if (!read_ipv6(skb, ETH_HLEN, outer)) return TUNNEL_OTHER;
  } else {
    return TUNNEL_OTHER;
  }
  if (outer->protocol != IPPROTO_UDP) return TUNNEL_OTHER;
  if (outer->fragment) return TUNNEL_FRAGMENT;
  struct udphdr udp;
  if (bpf_skb_load_bytes(skb, outer->text, &udp, sizeof(udp))) return TUNNEL_OTHER;
  if (outer->text + sizeof(udp) > outer->end) return TUNNEL_OTHER;
  if (udp.dest != bpf_htons(TUNNEL_PORT)) return TUNNEL_OTHER;
  return GO_ON;
}

static __always_inline bool read_inner(struct __sk_buff *skb, __u32 offset, __u32 end, struct layer *inner) {
  __u8 first;
  if (bpf_skb_load_bytes(skb, offset, &first, 1)) return false;
  bool good = first >> 4 == 4 ? read_ipv4(skb, offset, inner) : read_ipv6(skb, offset, inner);
  return good && inner->end <= end;
}

SEC("tc")
int handoff_decapsulate(struct __sk_buff *skb) {
  struct layer outer, inner;
  int parsed = read_outer(skb, &outer);
  if (parsed != GO_ON) return finish(parsed, PASS);
  if (!bpf_map_lookup_elem(&tunnel_peers, &outer.source)) return finish(TUNNEL_STRANGER, DROP);
  __u32 start = outer.text + sizeof(struct udphdr);
  if (!read_inner(skb, start, outer.end, &inner)) return finish(TUNNEL_MALFORMED, DROP);
  bool carries = inner.protocol == IPPROTO_TCP || inner.protocol == (inner.ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
  if (!carries || !bpf_map_lookup_elem(&tunnel_served, &inner.destination)) return finish(TUNNEL_NOT_SERVED, DROP);

  if (!take_out(skb, start, inner.ipv4)) return finish(TUNNEL_REWRITE_FAILED, DROP);
  return finish(TUNNEL_DECAPSULATED, PASS);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
