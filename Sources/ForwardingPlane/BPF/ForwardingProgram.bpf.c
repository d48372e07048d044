// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// At tc ingress of a distributor: forwards packets of handed-off connections to their back-ends, answers handshakes, and
// gives user space what is left. docs/design/forwarding.md and docs/design/handshake.md have the pictures and the reasons.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flow_table.h"
#include "handoff_packet.h"
#include "lease_plane.h"
#include "tunnel.h"

// In this order: each uses those before it.
#include "maps.bpf.h"
#include "verdict.bpf.h"
#include "frame.bpf.h"
#include "icmp.bpf.h"
#include "packet.bpf.h"
#include "checksum.bpf.h"
#include "siphash.bpf.h"
#include "flow_hash.bpf.h"
#include "cookie.bpf.h"
#include "established.bpf.h"
#include "options.bpf.h"
#include "answer.bpf.h"
#include "ring.bpf.h"
#include "handshake.bpf.h"
#include "outer.bpf.h"
#include "too_long.bpf.h"
#include "tunnel.bpf.h"
#include "handoff_tag.bpf.h"
#include "lease.bpf.h"
#include "hand_off.bpf.h"

static __always_inline int forward_to_mac(
    struct __sk_buff *skb, const struct handoff_flow_entry *entry, enum handoff_outcome outcome) {
  struct ethhdr *old = header(skb, 0, sizeof(*old));
  if (!old) return finish(HANDOFF_REWRITE_FAILED, DROP);
  // From our own address, which the frame was sent to; the TTL stays, as for a bridge.
  __u8 addresses[2 * ETH_ALEN];
  __builtin_memcpy(addresses, entry->mac, ETH_ALEN);
  __builtin_memcpy(addresses + ETH_ALEN, old->h_dest, ETH_ALEN);
  if (bpf_skb_store_bytes(skb, 0, addresses, sizeof(addresses), 0)) return finish(HANDOFF_REWRITE_FAILED, DROP);
  return finish(outcome, bpf_redirect(skb->ifindex, 0));
}

static __always_inline int deliver_locally(struct __sk_buff *skb, enum handoff_outcome outcome) {
  __u32 zero = 0;
  const struct handoff_state *state = bpf_map_lookup_elem(&handoff_state, &zero);
  if (state) skb->mark = state->local_mark;
  return finish(outcome, PASS);
}

// An ICMP error about a packet of the flow's back-end. It says nothing of the client: the entry stays as it is.
static __always_inline int on_error(struct __sk_buff *skb, const struct packet *packet) {
  const struct handoff_flow_entry *entry = bpf_map_lookup_elem(&handoff_flows, &packet->key);
  if (!entry) return finish(HANDOFF_NOT_SERVICE, PASS);
  switch (entry->action) {
    case HANDOFF_FORWARD_MAC: return forward_to_mac(skb, entry, HANDOFF_ERROR_FORWARDED);
    case HANDOFF_FORWARD_TUNNEL: return forward_by_tunnel(skb, packet, entry, HANDOFF_ERROR_FORWARDED);
    default: return deliver_locally(skb, HANDOFF_ERROR_FORWARDED);
  }
}

// What netfilter would otherwise give to user space because of its destination, but cannot be told apart by port.
static __always_inline int unparsed(const struct packet *packet, int outcome) {
  const struct handoff_handshake *shake = handshake();
  if (outcome != HANDOFF_FRAGMENT || !shake || !(shake->flags & HANDOFF_USES_RING)) return finish(outcome, PASS);
  // The node's own TCP would put the fragments together and answer with a reset.
  struct handoff_service_key key = {.address = packet->key.service};
  return finish(outcome, bpf_map_lookup_elem(&handoff_service, &key) ? DROP : PASS);
}

__noinline int on_syn(
    struct __sk_buff *skb, const struct packet *packet, const struct handoff_flow_entry *entry, __u64 now) {
  if (!packet) return DROP;
  const struct handoff_handshake *shake = handshake();
  if (!shake) return finish(HANDOFF_SYN_NEW, PASS);
  if (entry && entry->client_isn == packet->sequence) return finish(HANDOFF_SYN_DUPLICATE, DROP);
  bool answers = shake->flags & HANDOFF_ANSWERS_SYN;
  const struct handoff_cookie_key *key = cookie_key(shake, now);
  struct syn syn;
  if ((answers || (entry && key)) && !read_syn(skb, packet, &syn)) return finish(HANDOFF_SYN_MALFORMED, DROP);
  // A client that has closed or reset may use the port again before its back-end has told of the end. Anybody can forge a
  // FIN: the entry stays until an acknowledgment quotes the cookie (begins_anew).
  bool closing = entry && entry->flags & (HANDOFF_CLIENT_FIN | HANDOFF_CLIENT_RST) && !(entry->flags & HANDOFF_ENDED);
  if (entry && !(entry->flags & HANDOFF_ENDED) && key) {
    if (!closing || !answers || shake->flags & HANDOFF_DRAINING) return challenge(skb, packet, &syn, key, now);
  }
  if (answers) {
    if (!key || !is_alive(worker_of(shake, &packet->key), now)) return finish(HANDOFF_SYN_UNATTENDED, DROP);
    if (shake->flags & HANDOFF_DRAINING) return finish(HANDOFF_SYN_DRAINING, DROP);
  }
  // Must be gone before anybody answers: the client's ACK would else be sent to the old back-end.
  // Another CPU or the loader may be faster; only the one who deletes it counts it as reused.
  bool deleted = entry && !closing && bpf_map_delete_elem(&handoff_flows, &packet->key) == 0;
  if (!answers || !key) {
    return to_user_space(skb, packet, shake, deleted ? HANDOFF_SYN_REUSED : HANDOFF_SYN_NEW, now);
  }
  return answer_syn(skb, packet, &syn, deleted ? HANDOFF_SYN_REUSED : HANDOFF_SYN_ANSWERED, now);
}

static __always_inline int on_unknown(struct __sk_buff *skb, const struct packet *packet, __u64 now) {
  const struct handoff_handshake *shake = handshake();
  if (shake && shake->flags & HANDOFF_ANSWERS_SYN && completes_handshake(packet, shake, now)) {
    return finish(HANDOFF_ACK_ABSORBED, CONSUMED);
  }
  return place(skb, packet, shake, HANDOFF_TO_USER_SPACE, now);
}

SEC("tc")
int handoff_forward(struct __sk_buff *skb) {
  struct packet packet;
  int parsed = parse(skb, &packet);
  if (parsed != GO_ON) return unparsed(&packet, parsed);
  if (!is_served(&packet)) return finish(HANDOFF_NOT_SERVICE, PASS);

  if (packet.error) return on_error(skb, &packet);

  __u64 now = bpf_ktime_get_coarse_ns();
  struct handoff_flow_entry *entry = bpf_map_lookup_elem(&handoff_flows, &packet.key);
  if (packet.syn && !packet.ack) return on_syn(skb, &packet, entry, now);
  if (!entry) {
    int verdict = on_unknown(skb, &packet, now);
    if (verdict != FOLLOW) return verdict;
    entry = bpf_map_lookup_elem(&handoff_flows, &packet.key);
    // Gone again: the client repeats its request.
    if (!entry) return finish(HANDOFF_TO_USER_SPACE, DROP);
  }

  if (may_confirm(&packet)) {
    const struct handoff_handshake *shake = handshake();
    if (shake && confirms_challenge(&packet, shake, now)) {
      if (bpf_map_delete_elem(&handoff_flows, &packet.key)) return finish(HANDOFF_TO_USER_SPACE, DROP);
      return finish(HANDOFF_CHALLENGE_CONFIRMED, CONSUMED);
    }
  }
  if (may_begin_anew(entry)) {
    const struct handoff_handshake *shake = handshake();
    if (shake && shake->flags & HANDOFF_ANSWERS_SYN && begins_anew(&packet, entry, shake, now)) {
      bool deleted = bpf_map_delete_elem(&handoff_flows, &packet.key) == 0;
      if (packet.text == packet.end && !packet.fin)
        return finish(deleted ? HANDOFF_SYN_REUSED : HANDOFF_ACK_ABSORBED, CONSUMED);
      int verdict = place(skb, &packet, shake, deleted ? HANDOFF_SYN_REUSED : HANDOFF_TO_USER_SPACE, now);
      return verdict == FOLLOW ? finish(HANDOFF_TO_USER_SPACE, DROP) : verdict;
    }
  }
  note(entry, &packet, now);
  switch (entry->action) {
    case HANDOFF_FORWARD_MAC: return forward_to_mac(skb, entry, HANDOFF_FORWARDED);
    case HANDOFF_FORWARD_TUNNEL: return forward_by_tunnel(skb, &packet, entry, HANDOFF_TUNNELLED);
    default: return deliver_locally(skb, HANDOFF_DELIVERED_LOCALLY);
  }
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
