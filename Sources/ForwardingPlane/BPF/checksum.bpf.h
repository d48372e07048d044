// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// The Internet checksum (RFC 1071).
#pragma once

static __always_inline __u16 fold(__u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (__u16)sum;
}

// The unfolded sum of the pseudo header, in network order. Both directions have the same.
static __always_inline __u64 pseudo_sum(const struct handoff_flow_key *key, bool ipv4, __u32 length) {
  __u64 sum = bpf_htonl(length + IPPROTO_TCP);
  const __u32 *client = key->client.words, *service = key->service.words;
  sum += client[3];
  sum += service[3];
  if (ipv4) return sum;
  sum += (__u64)client[0] + client[1] + client[2];
  return sum + service[0] + service[1] + service[2];
}

// The value of a field that the sender's kernel left to a device (CHECKSUM_PARTIAL): the pseudo header's sum. One checksum
// in 65,536 is the same.
static __always_inline bool looks_left_open(const struct packet *packet) {
  return packet->checksum == fold(pseudo_sum(&packet->key, packet->ipv4, packet->end - packet->tcp));
}
