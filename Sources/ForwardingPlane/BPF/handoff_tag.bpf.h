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
