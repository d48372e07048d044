// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Answers built in place of the packet that they answer.
#pragma once

enum { LONGEST_ANSWER_HEADER = 40 };

// The TCP header of an answer, zero behind `length`.
struct tcp_answer {
  union {
    struct tcphdr header;
    __u8 bytes[LONGEST_ANSWER_HEADER];
    __be32 words[LONGEST_ANSWER_HEADER / 4];
  };
};

enum checksum_state {
  // Filled in by the sender and right.
  CHECKSUM_RIGHT,
  // The sender's kernel left it to a device that has not been met yet (CHECKSUM_PARTIAL): the field has the pseudo
  // header's sum, and whoever completes it adds the rest.
  CHECKSUM_LEFT_OPEN,
  // Both at once, as one packet in 65,536 is: what answers it has to be both as well.
  CHECKSUM_UNDECIDED,
  CHECKSUM_WRONG,
};

// A program at tc cannot read skb->ip_summed, but the field tells: it is either the pseudo header's sum or a checksum.
// The checksum of a SYN with data is not verified; the data is not used.
static __always_inline enum checksum_state checksum_state(const struct packet *packet, struct tcp_text *text) {
  __u64 pseudo = pseudo_sum(&packet->key, packet->ipv4, packet->end - packet->tcp);
  struct tcphdr *header = (struct tcphdr *)text->bytes;
  bool is_open = header->check == fold(pseudo);
  if (packet->text < packet->end) return is_open ? CHECKSUM_UNDECIDED : CHECKSUM_RIGHT;
  __s64 sum = bpf_csum_diff(NULL, 0, (__be32 *)text->bytes, LONGEST_TCP_HEADER, 0);
  bool is_right = fold(pseudo + (__u32)sum) == 0xffff;
  if (is_open) return is_right ? CHECKSUM_UNDECIDED : CHECKSUM_LEFT_OPEN;
  return is_right ? CHECKSUM_RIGHT : CHECKSUM_WRONG;
}

static __always_inline bool write_ipv4(struct __sk_buff *skb, const struct packet *packet, __u32 length) {
  struct iphdr ip = {
    .version = 4, .ihl = 5, .tot_len = bpf_htons(sizeof(ip) + length), .frag_off = bpf_htons(0x4000), .ttl = 64,
    .protocol = IPPROTO_TCP, .saddr = packet->key.service.words[3], .daddr = packet->key.client.words[3]};
  ip.check = ~fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), 0));
  return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0) == 0;
}

static __always_inline bool write_ipv6(struct __sk_buff *skb, const struct packet *packet, __u32 length) {
  struct ipv6hdr ip = {.version = 6, .payload_len = bpf_htons(length), .nexthdr = IPPROTO_TCP, .hop_limit = 64};
  __builtin_memcpy(&ip.saddr, &packet->key.service, sizeof(ip.saddr));
  __builtin_memcpy(&ip.daddr, &packet->key.client, sizeof(ip.daddr));
  return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0) == 0;
}

// Turns the packet into `answer` and sends it where it came from. The IP header keeps its length, so that an open
// checksum's place stays right. 0: the kernel is out of memory, and the packet may be half written.
__noinline int send_answer(
    struct __sk_buff *skb, const struct packet *packet, struct tcp_answer *answer, __u32 length,
    enum checksum_state state) {
  if (!packet || !answer) return 0;
  if (bpf_skb_change_tail(skb, packet->tcp + length, 0)) return false;
  struct ethhdr *ethernet = header(skb, 0, sizeof(*ethernet));
  if (!ethernet) return false;
  __u8 addresses[2 * ETH_ALEN];
  __builtin_memcpy(addresses, ethernet->h_source, ETH_ALEN);
  __builtin_memcpy(addresses + ETH_ALEN, ethernet->h_dest, ETH_ALEN);
  if (bpf_skb_store_bytes(skb, 0, addresses, sizeof(addresses), 0)) return false;
  if (packet->ipv4 ? !write_ipv4(skb, packet, length) : !write_ipv6(skb, packet, length)) return false;

  answer->header.source = packet->key.service_port;
  answer->header.dest = packet->key.client_port;
  answer->header.doff = length / 4;
  answer->header.check = 0;
  __u64 sum = pseudo_sum(&packet->key, packet->ipv4, length);
  __u16 pseudo = fold(sum);
  sum += (__u32)bpf_csum_diff(NULL, 0, answer->words, sizeof(*answer), 0);
  if (state == CHECKSUM_RIGHT) {
    answer->header.check = ~fold(sum);
  } else {
    answer->header.check = pseudo;
    // Without URG nobody reads the pointer (RFC 9293 section 3.1): it makes the pseudo header's sum the right checksum.
    if (state == CHECKSUM_UNDECIDED) answer->header.urg_ptr = ~fold(sum + pseudo);
  }
  __u64 size = length;
  if (!within(&size, sizeof(struct tcphdr), LONGEST_ANSWER_HEADER)) return false;
  return bpf_skb_store_bytes(skb, packet->tcp, answer->bytes, size, 0) == 0;
}
