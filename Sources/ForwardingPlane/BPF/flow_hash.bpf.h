// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Hashes of flows, the same values as `KeyedHash` in Swift gives.
#pragma once

// A flow as the hash takes it: the halves of the addresses and both ports, in host order.
struct flow_words {
  __u64 client_high, client_low, service_high, service_low, ports;
};

static __always_inline __u64 address_half(const struct handoff_address *address, int half) {
  return (__u64)bpf_ntohl(address->words[2 * half]) << 32 | bpf_ntohl(address->words[2 * half + 1]);
}

static __always_inline void make_words(struct flow_words *words, const struct handoff_flow_key *key) {
  words->client_high = address_half(&key->client, 0);
  words->client_low = address_half(&key->client, 1);
  words->service_high = address_half(&key->service, 0);
  words->service_low = address_half(&key->service, 1);
  words->ports = bpf_ntohs(key->client_port) | (__u32)bpf_ntohs(key->service_port) << 16;
}

// Global, not static: the verifier looks at these two once each, not at every call on every path.
__noinline __u64 siphash_flow(const struct flow_words *words, __u64 k0, __u64 k1, __u32 salt) {
  if (!words) return 0;
  struct siphash state;
  sip_start(&state, k0, k1);
  sip_absorb(&state, words->client_high);
  sip_absorb(&state, words->client_low);
  sip_absorb(&state, words->service_high);
  sip_absorb(&state, words->service_low);
  sip_absorb(&state, words->ports | (__u64)salt << 32);
  sip_absorb(&state, 40ULL << 56);
  return sip_finish(&state);
}

__noinline __u64 siphash_word(__u64 word, __u64 k0, __u64 k1) {
  struct siphash state;
  sip_start(&state, k0, k1);
  sip_absorb(&state, word);
  sip_absorb(&state, 8ULL << 56);
  return sip_finish(&state);
}
