// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// A handoff without user space: the client's request becomes the datagram that gives the connection to a server node
// (handoff_packet.h). docs/design/leased-handoff.md.
#pragma once

// What is known of a connection at its first request.
struct leased_request {
  struct handoff_packet header;
  struct request_target target;
  struct lease_node *node;
  struct lease_worker *lender;
  struct lease_purse *purse;
  __u32 worker, back_end, term;
};

enum { OPTION_SCALE = 1, OPTION_SACK = 2, OPTION_TIMESTAMPS = 4 };

// Fills in what was negotiated; false when the cookie is not ours or the header is not of the usual form.
__noinline bool read_negotiated(
    struct __sk_buff *skb, const struct packet *packet, const struct handoff_handshake *shake,
    struct handoff_packet *header, __u64 now) {
  if (!packet || !shake || !header) return false;
  struct flow_words words;
  make_words(&words, &packet->key);
  int code = read_cookie(shake, &words, packet->sequence - 1, packet->acknowledgment - 1, now);
  if (code < 0) return false;
  __u32 length = packet->text - packet->tcp;
  __u8 scale = scale_of_cookie(code);
  if (length == sizeof(struct tcphdr) + 12) {
    // The form that all systems send (RFC 7323 appendix A); others are for user space.
    __be32 options[3];
    if (bpf_skb_load_bytes(skb, packet->tcp + sizeof(struct tcphdr), options, sizeof(options))) return false;
    if (options[0] != bpf_htonl(0x0101080a)) return false;
    __u32 echo = bpf_ntohl(options[2]);
    scale = exact_scale(scale, echo);
    header->options |= OPTION_TIMESTAMPS;
    header->timestamp_value = options[1];
    __u32 clock = client_clock(shake, &words, now);
    if ((__s32)(clock - echo) <= 0) clock = echo + 1;
    header->timestamp_echo = bpf_htonl(clock);
  } else if (length != sizeof(struct tcphdr)) {
    return false;
  }
  if (scale != NO_SCALE) {
    header->options |= OPTION_SCALE;
    header->send_scale = scale;
    header->receive_scale = shake->window_scale;
  }
  if (code & 64) header->options |= OPTION_SACK;
  header->mss = bpf_htons(size_of_cookie(code));
  return true;
}

__noinline int sign(
    struct handoff_packet *header, const struct packet *packet, const struct lease_node *node) {
  if (!header || !packet || !node) return 0;
  header->tag = bpf_cpu_to_be64(tag_of(header, packet, node->key));
  return 1;
}

static __always_inline bool is_over_ipv4(const struct lease_node *node) {
  return node->node.words[2] == bpf_htonl(0xffff) && !node->node.words[0] && !node->node.words[1];
}

// Puts the datagram's headers in front of the IP packet and sends it. The flow's entry and the worker's record are made:
// what fails here is a lost packet, which the worker notices.
__noinline int send_handoff(
    struct __sk_buff *skb, const struct handoff_packet *header_of_handoff, const struct lease_node *node) {
  if (!header_of_handoff || !node) return DROP;
  bool over_ipv4 = is_over_ipv4(node);
  __u32 outer = over_ipv4 ? sizeof(struct outer_ipv4) : sizeof(struct outer_ipv6);
  __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
                (over_ipv4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6);
  if (bpf_skb_adjust_room(skb, outer + sizeof(*header_of_handoff), BPF_ADJ_ROOM_MAC, flags))
    return finish(HANDOFF_REWRITE_FAILED, DROP);
  __u32 udp_length = skb->len - ETH_HLEN - (outer - sizeof(struct udphdr));
  struct udphdr udp = {.source = node->port, .dest = node->port, .len = bpf_htons(udp_length)};
  long failed = over_ipv4 ? write_outer_ipv4(skb, &node->source, &node->node, &udp)
                          : write_outer_ipv6(skb, &node->source, &node->node, &udp);
  if (failed || bpf_skb_store_bytes(skb, ETH_HLEN + outer, header_of_handoff, sizeof(*header_of_handoff), 0))
    return finish(HANDOFF_REWRITE_FAILED, DROP);
  if (node->action == HANDOFF_FORWARD_TUNNEL)
    return finish(HANDOFF_HANDED_OFF, bpf_redirect_neigh(node->interface, NULL, 0, 0));
  struct ethhdr *old = header(skb, 0, sizeof(*old));
  if (!old) return finish(HANDOFF_REWRITE_FAILED, DROP);
  struct ethhdr ethernet = {.h_proto = bpf_htons(over_ipv4 ? ETH_P_IP : ETH_P_IPV6)};
  __builtin_memcpy(ethernet.h_source, old->h_dest, ETH_ALEN);
  __builtin_memcpy(ethernet.h_dest, node->mac, ETH_ALEN);
  if (bpf_skb_store_bytes(skb, 0, &ethernet, sizeof(ethernet), 0)) return finish(HANDOFF_REWRITE_FAILED, DROP);
  return finish(HANDOFF_HANDED_OFF, bpf_redirect(node->interface, 0));
}

// Enters the flow and tells the worker. False when it cannot be: nothing has changed then.
static __noinline bool enter_flow(
    struct __sk_buff *skb, const struct packet *packet, const struct leased_request *request, __u64 now) {
  struct handoff_flow_entry entry = {
      .handoff_id = bpf_be64_to_cpu(request->header.handoff),
      .last_seen = now,
      .client_isn = packet->sequence - 1,
      .back_end = request->back_end,
      .action = request->node->action,
      .send_next = packet->acknowledgment,
  };
  __builtin_memcpy(entry.mac, request->node->mac, sizeof(entry.mac));
  // NOEXIST: of two copies of the request on two processors one is handed off.
  if (bpf_map_update_elem(&handoff_flows, &packet->key, &entry, BPF_NOEXIST)) return false;
  struct handoff_ring_record record = {
      .back_end = request->back_end,
      .handoff = entry.handoff_id,
      .target = request->target.hash,
      .term = request->term,
      .epoch = request->lender->epoch,
  };
  __u64 wakes = BPF_RB_NO_WAKEUP;
  // Signed: the worker's clock is finer, so what it wrote may lie ahead.
  if ((__s64)(now - request->lender->looks) >= 0) wakes = BPF_RB_FORCE_WAKEUP;
  if (copy_to_ring(skb, packet, request->worker, &record, wakes)) {
    if (wakes == BPF_RB_FORCE_WAKEUP) request->lender->looks = now + LEASE_TOLD_WITHIN;
    return true;
  }
  bpf_map_delete_elem(&handoff_flows, &packet->key);
  return false;
}

// Finds the back-end of a request's target and the way there.
static __always_inline bool find_back_end(
    const struct packet *packet, struct leased_request *request, __u64 now) {
  __u32 first = 0;
  const struct lease_worker *shared = bpf_map_lookup_elem(&lease_workers, &first);
  if (!shared) return false;
  struct lease_target_key key = {.target = request->target.hash, .epoch = shared->targets};
  const struct lease_target *target = bpf_map_lookup_elem(&lease_targets, &key);
  if (!target || now >= target->expires) return false;
  request->back_end = target->back_end;
  if (request->back_end >= LEASE_MAX_BACK_ENDS) return false;
  request->purse = &request->lender->purses[request->back_end];
  struct lease_node_key name = {.worker = request->worker, .back_end = request->back_end};
  request->node = bpf_map_lookup_elem(&lease_nodes, &name);
  return request->node && request->node->families & (packet->ipv4 ? LEASE_IPV4 : LEASE_IPV6);
}

// A copy of the request may have been handed off on another processor meanwhile.
static __always_inline int follow_or_go_on(const struct packet *packet) {
  return bpf_map_lookup_elem(&handoff_flows, &packet->key) ? FOLLOW : GO_ON;
}

// Hands the connection of a first request off; GO_ON when it is for user space, FOLLOW when it has become one of a flow.
__noinline int hand_off(struct __sk_buff *skb, const struct packet *packet, __u32 worker, __u64 now) {
  const struct handoff_handshake *shake = handshake();
  struct leased_request request = {.worker = worker};
  request.lender = bpf_map_lookup_elem(&lease_workers, &worker);
  if (!shake || !packet || !request.lender || !request.lender->origin || shake->flags & HANDOFF_DRAINING) return GO_ON;
  if (!packet->ack || packet->syn || packet->fin || packet->rst || packet->text == packet->end) return GO_ON;
  // Joined segments are longer than a handoff can be; padding would be taken for text.
  if (skb->gso_segs > 1 || skb->len != packet->end) return GO_ON;
  if (packet->end - ETH_HLEN > LEASE_LONGEST_HANDOFF - sizeof(request.header)) return GO_ON;
  if (packet->ipv4 && packet->tcp != ETH_HLEN + sizeof(struct iphdr)) return GO_ON;
  if (!read_target(skb, packet, shake, &request.target)) return GO_ON;
  if (!find_back_end(packet, &request, now) || is_claimed(packet)) return GO_ON;
  request.header.version = HANDOFF_PACKET_VERSION;
  request.header.loop = request.node->loop;
  request.header.origin = bpf_cpu_to_be64(request.lender->origin);
  if (!read_negotiated(skb, packet, shake, &request.header, now)) return GO_ON;
  __u32 mtu = 0, room = sizeof(request.header) + sizeof(struct outer_ipv6);
  if (bpf_check_mtu(skb, request.node->interface, &mtu, room, 0)) return GO_ON;
  if (packet->end - ETH_HLEN + room > request.node->mtu) return GO_ON;
  if (!take_credit(request.purse, now, &request.term)) return follow_or_go_on(packet);
  // Never the name of a handoff by the worker, whose numbers of slots are far below.
  __u64 number = 1ULL << 63 | __sync_fetch_and_add(&request.lender->made, 1);
  request.header.handoff = bpf_cpu_to_be64(number);
  if (!enter_flow(skb, packet, &request, now)) {
    __sync_fetch_and_add(&request.purse->credits, 1);
    return follow_or_go_on(packet);
  }
  sign(&request.header, packet, request.node);
  return send_handoff(skb, &request.header, request.node);
}

// The end of a packet of no flow that may carry a first request. FOLLOW when the flow is there now.
static __always_inline int place(
    struct __sk_buff *skb, const struct packet *packet, const struct handoff_handshake *shake,
    enum handoff_outcome outcome, __u64 now) {
  if (shake && shake->flags & HANDOFF_USES_RING && shake->flags & HANDOFF_ANSWERS_SYN) {
    __u32 worker = worker_of(shake, &packet->key);
    if (is_alive(worker, now)) {
      int verdict = hand_off(skb, packet, worker, now);
      if (verdict != GO_ON) return verdict;
      claim(packet, shake, worker, now);
    }
  }
  return to_user_space(skb, packet, shake, outcome, now);
}
