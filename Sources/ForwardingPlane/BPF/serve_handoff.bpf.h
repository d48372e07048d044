// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Taking a handoff that comes in one packet, without the agent (handoff_packet.h).
#pragma once

// The request's own headers, `offset` bytes into the frame. Without IP options and extension headers: the distributor
// writes them. The frame may be longer.
static __always_inline bool read_request(struct __sk_buff *skb, __u32 offset, struct packet *packet) {
  __u8 first;
  __u32 text, end;
  if (bpf_skb_load_bytes(skb, offset, &first, 1)) return false;
  __builtin_memset(packet, 0, sizeof(*packet));
  if (first == 0x45) {
    struct iphdr ip;
    if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.protocol != IPPROTO_TCP) return false;
    packet->is_ipv4 = true;
    packet->key.client.words[2] = packet->key.service.words[2] = bpf_htonl(0xffff);
    packet->key.client.words[3] = ip.saddr;
    packet->key.service.words[3] = ip.daddr;
    text = offset + sizeof(ip);
    end = offset + bpf_ntohs(ip.tot_len);
  } else if (first >> 4 == 6) {
    struct ipv6hdr ip;
    if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.nexthdr != IPPROTO_TCP) return false;
    __builtin_memcpy(&packet->key.client, &ip.saddr, sizeof(ip.saddr));
    __builtin_memcpy(&packet->key.service, &ip.daddr, sizeof(ip.daddr));
    text = offset + sizeof(ip);
    end = text + bpf_ntohs(ip.payload_len);
  } else {
    return false;
  }
  struct tcphdr tcp;
  if (bpf_skb_load_bytes(skb, text, &tcp, sizeof(tcp))) return false;
  packet->key.client_port = tcp.source;
  packet->key.service_port = tcp.dest;
  packet->sequence = bpf_ntohl(tcp.seq);
  packet->acknowledgment = bpf_ntohl(tcp.ack_seq);
  return end <= skb->len && text + tcp.doff * 4 < end && tcp.doff >= 5 && !tcp.syn && !tcp.fin && !tcp.rst && tcp.ack;
}

// Where the header of a handoff begins, 0 when this is none.
static __always_inline __u32 find_handoff(struct __sk_buff *skb, __u16 port) {
  __u32 offset;
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    struct iphdr ip;
    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return 0;
    if (ip.version != 4 || ip.ihl != 5 || ip.protocol != IPPROTO_UDP || ip.frag_off & bpf_htons(0x3fff)) return 0;
    offset = ETH_HLEN + sizeof(ip);
  } else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
    struct ipv6hdr ip;
    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return 0;
    if (ip.version != 6 || ip.nexthdr != IPPROTO_UDP) return 0;
    offset = ETH_HLEN + sizeof(ip);
  } else {
    return 0;
  }
  struct udphdr udp;
  if (bpf_skb_load_bytes(skb, offset, &udp, sizeof(udp)) || udp.dest != port) return 0;
  return offset + sizeof(udp);
}

static __always_inline struct serve_pending *enter(
    const struct handoff_packet *handoff, const struct packet *packet, __u32 loop) {
  struct serve_pending pending = {
      .token = bpf_be64_to_cpu(handoff->handoff),
      .origin = bpf_be64_to_cpu(handoff->origin),
      .sequence = packet->sequence,
      .acknowledgment = packet->acknowledgment,
      .timestamp_value = bpf_ntohl(handoff->timestamp_value),
      .timestamp_echo = bpf_ntohl(handoff->timestamp_echo),
      .mss = bpf_ntohs(handoff->mss),
      .send_scale = handoff->send_scale,
      .receive_scale = handoff->receive_scale,
      .options = handoff->options,
      .loop = loop,
  };
  if (bpf_map_update_elem(&serve_waiting, &packet->key, &pending, BPF_ANY)) return NULL;
  return bpf_map_lookup_elem(&serve_waiting, &packet->key);
}

static __noinline int receive_handoff(struct __sk_buff *skb) {
  __u32 zero = 0;
  const struct serve_settings *settings = bpf_map_lookup_elem(&serve_settings, &zero);
  if (!settings || !settings->packet_port) return finish(SERVE_OUT_NOT_SERVICE, PASS);
  __u32 offset = find_handoff(skb, settings->packet_port);
  if (!offset) return finish(SERVE_OUT_NOT_SERVICE, PASS);
  struct handoff_packet handoff;
  struct packet packet;
  if (bpf_skb_load_bytes(skb, offset, &handoff, sizeof(handoff)) || handoff.version != HANDOFF_PACKET_VERSION)
    return finish(SERVE_OUT_HANDOFF_MALFORMED, DROP);
  __u32 start = offset + sizeof(handoff);
  if (!read_request(skb, start, &packet)) return finish(SERVE_OUT_HANDOFF_MALFORMED, DROP);
  if (tag_of(&handoff, &packet, settings->key) != bpf_be64_to_cpu(handoff.tag)) return finish(SERVE_OUT_HANDOFF_FORGED, DROP);

  __u32 loop = handoff.loop;
  const struct serve_attention *attention = bpf_map_lookup_elem(&serve_watching, &loop);
  struct serve_service_key service = {.address = packet.key.service, .port = packet.key.service_port};
  const struct serve_listener *server = bpf_map_lookup_elem(&serve_services, &service);
  // A service may go while packets are under way, like the agent: the distributor finds out by the lack of an answer.
  if (!server || !attention || bpf_ktime_get_ns() >= *(const volatile __u64 *)&attention->alive)
    return finish(SERVE_OUT_HANDOFF_UNATTENDED, DROP);

  struct serve_handoff name = {.origin = bpf_be64_to_cpu(handoff.origin), .handoff = bpf_be64_to_cpu(handoff.handoff)};
  if (bpf_map_update_elem(&serve_seen, &name, &loop, BPF_NOEXIST)) return finish(SERVE_OUT_HANDOFF_REPEATED, DROP);
  struct serve_pending *pending = enter(&handoff, &packet, loop);
  if (!pending || !take_out(skb, start, packet.is_ipv4)) {
    bpf_map_delete_elem(&serve_waiting, &packet.key);
    bpf_map_delete_elem(&serve_seen, &name);
    return finish(SERVE_OUT_HANDOFF_FAILED, DROP);
  }
  int verdict = install(skb, &packet, server, pending);
  if (verdict == PASS) return verdict;
  // Not taken, and not going to be: the agent may try what it can do besides.
  struct serve_event event = {
      .kind = SERVE_DECLINED, .token = name.handoff, .origin = name.origin, .last_state = pending->result};
  bpf_map_delete_elem(&serve_waiting, &packet.key);
  bpf_map_delete_elem(&serve_seen, &name);
  tell(loop, &event, 0);
  return verdict;
}
