// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// The tag of a handoff by packet, which its sender and its receiver compute: the same as `HandoffPacket.tag` in Swift.
#pragma once

// What the tag is made of.
struct handoff_words {
  __u64 negotiated, origin, handoff, timestamps;
  __u64 client_high, client_low, service_high, service_low, ports, numbers;
};

// Global, not static: the verifier looks at it once.
__noinline __u64 handoff_tag(const struct handoff_words *words, __u64 k0, __u64 k1) {
  if (!words) return 0;
  struct siphash state;
  sip_start(&state, k0, k1);
  sip_absorb(&state, words->negotiated);
  sip_absorb(&state, words->origin);
  sip_absorb(&state, words->handoff);
  sip_absorb(&state, words->timestamps);
  sip_absorb(&state, words->client_high);
  sip_absorb(&state, words->client_low);
  sip_absorb(&state, words->service_high);
  sip_absorb(&state, words->service_low);
  sip_absorb(&state, words->ports);
  sip_absorb(&state, words->numbers);
  sip_absorb(&state, 80ULL << 56);
  return sip_finish(&state);
}

static __always_inline __u64 half_of_address(const __u32 *words, int half) {
  return (__u64)bpf_ntohl(words[2 * half]) << 32 | bpf_ntohl(words[2 * half + 1]);
}

// The tag of a handoff whose request is `packet`.
static __always_inline __u64 tag_of(
    const struct handoff_packet *handoff, const struct packet *packet, const __u64 *key) {
  struct handoff_words words;
  __builtin_memcpy(&words.negotiated, handoff, 8);
  words.negotiated = bpf_be64_to_cpu(words.negotiated);
  words.origin = bpf_be64_to_cpu(handoff->origin);
  words.handoff = bpf_be64_to_cpu(handoff->handoff);
  words.timestamps = (__u64)bpf_ntohl(handoff->timestamp_value) << 32 | bpf_ntohl(handoff->timestamp_echo);
  words.client_high = half_of_address(packet->key.client.words, 0);
  words.client_low = half_of_address(packet->key.client.words, 1);
  words.service_high = half_of_address(packet->key.service.words, 0);
  words.service_low = half_of_address(packet->key.service.words, 1);
  words.ports = bpf_ntohs(packet->key.client_port) | (__u32)bpf_ntohs(packet->key.service_port) << 16;
  words.numbers = (__u64)packet->sequence << 32 | packet->acknowledgment;
  return handoff_tag(&words, key[0], key[1]);
}
