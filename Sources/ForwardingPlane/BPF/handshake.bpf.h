// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// The handshake in the kernel: SYNs answered with a cookie, bare acknowledgments absorbed. docs/design/handshake.md.
#pragma once

// What an answerable SYN says.
struct syn {
  struct syn_options options;
  struct flow_words words;
  enum checksum_state checksum;
};

static __always_inline bool is_host(const struct packet *packet) {
  const __u32 *words = packet->key.client.words;
  if (packet->key.client_port == 0) return false;
  if (packet->ipv4) {
    __u32 first = bpf_ntohl(words[3]) >> 24;
    if (first == 0 || first >= 224) return false;
  } else {
    if (bpf_ntohl(words[0]) >> 24 == 0xff) return false;
    if (!words[0] && !words[1] && !words[2] && !words[3]) return false;
    // An IPv4-mapped address has no place on the wire.
    if (!words[0] && !words[1] && words[2] == bpf_htonl(0xffff)) return false;
  }
  bool same = packet->key.client_port == packet->key.service_port;
  for (int word = 0; word < 4; word++) same = same && words[word] == packet->key.service.words[word];
  return !same;
}

static __always_inline bool has_right_ip_header(struct __sk_buff *skb, const struct packet *packet) {
  if (!packet->ipv4) return true;
  // Options would have to be answered or skipped; networks drop them (RFC 7126).
  if (packet->tcp != ETH_HLEN + sizeof(struct iphdr)) return false;
  struct iphdr ip;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return false;
  return fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), 0)) == 0xffff;
}

// False for a SYN that nobody has to answer.
__noinline bool read_syn(struct __sk_buff *skb, const struct packet *packet, struct syn *syn) {
  if (!packet || !syn) return false;
  if (packet->fin || packet->rst || !is_host(packet)) return false;
  if (!has_right_ip_header(skb, packet)) return false;
  struct tcp_text text = {};
  __u64 length = packet->text - packet->tcp;
  if (!within(&length, sizeof(struct tcphdr), LONGEST_TCP_HEADER)) return false;
  if (bpf_skb_load_bytes(skb, packet->tcp, text.bytes, length)) return false;
  syn->checksum = checksum_state(packet, &text);
  if (syn->checksum == CHECKSUM_WRONG || !parse_options(&text, length, &syn->options)) return false;
  make_words(&syn->words, &packet->key);
  return true;
}

// The SYN-ACK that `Responder.sendCookie` in Swift would send.
__noinline int answer_syn(
    struct __sk_buff *skb, const struct packet *packet, const struct syn *syn, enum handoff_outcome outcome,
    __u64 now) {
  if (!packet || !syn) return DROP;
  const struct handoff_handshake *shake = handshake();
  const struct handoff_cookie_key *key = shake ? cookie_key(shake, now) : NULL;
  if (!key) return finish(HANDOFF_SYN_UNATTENDED, DROP);
  const struct syn_options *options = &syn->options;
  __u16 segment_size = options->has_segment_size ? options->segment_size : packet->ipv4 ? 536 : 1220;
  struct tcp_answer answer = {};
  __u32 number = make_cookie(key, &syn->words, packet->sequence, cookie_code(segment_size, options->scale, options->sack), now);
  answer.header.seq = bpf_htonl(number);
  answer.header.ack_seq = bpf_htonl(packet->sequence + 1);
  answer.header.syn = 1;
  answer.header.ack = 1;
  answer.header.window = bpf_htons(shake->window);
  __u32 announced = packet->ipv4 ? shake->segment_size_ipv4 : shake->segment_size_ipv6;
  answer.words[5] = bpf_htonl(0x02040000 | announced);
  // The layout of `TCPOptions.emit`, which is that of Linux.
  __u32 scale = bpf_htonl(0x01030300 | shake->window_scale);
  bool scales = options->scale != NO_SCALE;
  __u32 length = 24;
  if (options->has_timestamp) {
    answer.words[6] = options->sack ? bpf_htonl(0x0402080a) : bpf_htonl(0x0101080a);
    answer.words[7] = bpf_htonl(cookie_timestamp(shake, &syn->words, now, options->scale));
    answer.words[8] = bpf_htonl(options->timestamp);
    if (scales) answer.words[9] = scale;
    length = scales ? 40 : 36;
  } else if (options->sack) {
    answer.words[6] = bpf_htonl(0x01010402);
    if (scales) answer.words[7] = scale;
    length = scales ? 32 : 28;
  } else if (scales) {
    answer.words[6] = scale;
    length = 28;
  }
  if (!send_answer(skb, packet, &answer, length, syn->checksum)) return finish(HANDOFF_REWRITE_FAILED, DROP);
  return finish(outcome, bpf_redirect(skb->ifindex, 0));
}

// RFC 5961 section 4, from the middle of the path: whoever sent the SYN gets an acknowledgment that fits no connection. A
// client that really begins anew answers it with a reset that quotes the number, and sends its SYN again; one whose
// connection lives, and whose address somebody forged, does not.
__noinline int challenge(
    struct __sk_buff *skb, const struct packet *packet, const struct syn *syn, const struct handoff_cookie_key *key,
    __u64 now) {
  if (!packet || !syn || !key) return DROP;
  struct tcp_answer answer = {};
  __u32 number = challenge_number(key, &syn->words, now);
  // Neither the SYN's own acknowledgment, nor one of nothing.
  answer.header.ack_seq = bpf_htonl(number);
  answer.header.seq = bpf_htonl(number);
  answer.header.ack = 1;
  if (!send_answer(skb, packet, &answer, sizeof(struct tcphdr), syn->checksum)) {
    return finish(HANDOFF_REWRITE_FAILED, DROP);
  }
  return finish(HANDOFF_SYN_CHALLENGED, bpf_redirect(skb->ifindex, 0));
}

// An acknowledgment without data that completes a handshake answered here; the request tells user space all that it
// says.
__noinline bool completes_handshake(
    const struct packet *packet, const struct handoff_handshake *shake, __u64 now) {
  if (!packet || !shake) return false;
  if (!packet->ack || packet->syn || packet->fin || packet->rst || packet->text < packet->end) return false;
  struct flow_words words;
  make_words(&words, &packet->key);
  return is_cookie(shake, &words, packet->sequence - 1, packet->acknowledgment - 1, now);
}
