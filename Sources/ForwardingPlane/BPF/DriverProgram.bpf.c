// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// At the driver of a distributor's interface (XDP), before the program at tc: forwards what that would forward by the flow
// table, and passes everything else on to it. docs/design/forwarding.md.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "driver_hook.h"
#include "flow_table.h"
#include "tunnel.h"

// In this order: each uses those before it.
#include "maps.bpf.h"
#include "driver_frame.bpf.h"
#include "icmp.bpf.h"
#include "packet.bpf.h"
#include "checksum.bpf.h"
#include "siphash.bpf.h"
#include "flow_hash.bpf.h"
#include "cookie.bpf.h"
#include "established.bpf.h"
#include "outer.bpf.h"
#include "driver_tunnel.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct driver_counters);
} driver_counts SEC(".maps");

static __always_inline int end(enum driver_outcome outcome, int verdict) {
  __u32 zero = 0;
  struct driver_counters *counters = bpf_map_lookup_elem(&driver_counts, &zero);
  if (counters && outcome < DRIVER_OUTCOMES) counters->packets[outcome]++;
  return verdict;
}

// Whether the packet may remove the flow's entry instead of following it: the program at tc decides that again.
static __always_inline bool may_end_flow(
    const struct packet *packet, const struct handoff_flow_entry *entry, __u64 now) {
  bool confirms = may_confirm(packet), begins = may_begin_anew(entry);
  if (!confirms && !begins) return false;
  const struct handoff_handshake *shake = handshake();
  if (!shake) return false;
  if (confirms && confirms_challenge(packet, shake, now)) return true;
  return begins && shake->flags & HANDOFF_ANSWERS_SYN && begins_anew(packet, entry, shake, now);
}

static __always_inline int leave(struct xdp_md *context, const struct driver_settings *set) {
  return set->way == DRIVER_REDIRECTS ? bpf_redirect(context->ingress_ifindex, 0) : XDP_TX;
}

static __always_inline int forward_to_mac(
    struct xdp_md *context, const struct packet *packet, struct handoff_flow_entry *entry,
    const struct driver_settings *set, __u64 now) {
  struct ethhdr *ethernet = header(context, 0, sizeof(*ethernet));
  if (!ethernet) return end(DRIVER_PASSED, XDP_PASS);
  note(entry, packet, now);
  // From our own address, which the frame was sent to; the TTL stays, as for a bridge.
  __builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
  __builtin_memcpy(ethernet->h_dest, entry->mac, ETH_ALEN);
  count(HANDOFF_FORWARDED);
  return end(DRIVER_FORWARDED, leave(context, set));
}

static __always_inline int forward_by_tunnel(
    struct xdp_md *context, const struct packet *packet, struct handoff_flow_entry *entry,
    const struct driver_settings *set, __u64 now) {
  __u32 slot = entry->tunnel;
  const struct tunnel_node *node = bpf_map_lookup_elem(&handoff_tunnels, &slot);
  // What cannot go, or only by another interface, is dropped or sent at tc.
  if (!node || node->interface != context->ingress_ifindex) return end(DRIVER_NO_WAY, XDP_PASS);
  bool over_ipv4 = is_ipv4(&node->node);
  __u32 room = over_ipv4 ? sizeof(struct outer_ipv4) : sizeof(struct outer_ipv6);
  __u32 length = frame_length(context) + room;
  // Who sends what is too long is told at tc.
  if (length > set->longest || (node->mtu && length - ETH_HLEN > node->mtu) || !has_hops(context, packet->ipv4)) {
    return end(DRIVER_NO_WAY, XDP_PASS);
  }
  struct ethhdr ethernet;
  if (!find_way(context, node, over_ipv4, &ethernet)) return end(DRIVER_NO_WAY, XDP_PASS);
  // A driver without room in front of the frame: it is as it was.
  if (bpf_xdp_adjust_head(context, -(int)room)) return end(DRIVER_NO_WAY, XDP_PASS);
  note(entry, packet, now);
  if (!encapsulate(context, &ethernet, node, hash_of_flow(&packet->key), packet->ipv4)) {
    count(HANDOFF_REWRITE_FAILED);
    return end(DRIVER_FAILED, XDP_DROP);
  }
  count(HANDOFF_TUNNELLED);
  return end(DRIVER_TUNNELLED, leave(context, set));
}

SEC("xdp.frags")
int handoff_driver(struct xdp_md *context) {
  const struct driver_settings *set = settings();
  if (!set || set->way == DRIVER_PASSES_ALL) return end(DRIVER_PASSED, XDP_PASS);
  struct packet packet;
  if (parse(context, &packet) != GO_ON || packet.error) return end(DRIVER_PASSED, XDP_PASS);
  if (packet.syn && !packet.ack) return end(DRIVER_PASSED, XDP_PASS);
  struct handoff_flow_entry *entry = bpf_map_lookup_elem(&handoff_flows, &packet.key);
  if (!entry || entry->action == HANDOFF_DELIVER_LOCALLY) return end(DRIVER_PASSED, XDP_PASS);
  if (!is_served(&packet)) return end(DRIVER_PASSED, XDP_PASS);

  __u32 length = frame_length(context);
  if (length > set->longest || frame_end(context) - frame(context) != length) return end(DRIVER_JOINED, XDP_PASS);
  if (looks_left_open(&packet)) return end(DRIVER_CHECKSUM_OPEN, XDP_PASS);
  __u64 now = bpf_ktime_get_coarse_ns();
  if (may_end_flow(&packet, entry, now)) return end(DRIVER_PASSED, XDP_PASS);
  if (entry->action == HANDOFF_FORWARD_TUNNEL) return forward_by_tunnel(context, &packet, entry, set, now);
  return forward_to_mac(context, &packet, entry, set, now);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
