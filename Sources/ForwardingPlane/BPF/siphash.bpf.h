// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// SipHash-2-4 (Aumasson, Bernstein 2012), the same values as `KeyedHash` in Swift.
#pragma once

struct siphash {
  __u64 v0, v1, v2, v3;
};

#define ROTATED(value, bits) ((value) << (bits) | (value) >> (64 - (bits)))

static __always_inline void sip_round(struct siphash *state) {
  state->v0 += state->v1;
  state->v1 = ROTATED(state->v1, 13) ^ state->v0;
  state->v0 = ROTATED(state->v0, 32);
  state->v2 += state->v3;
  state->v3 = ROTATED(state->v3, 16) ^ state->v2;
  state->v0 += state->v3;
  state->v3 = ROTATED(state->v3, 21) ^ state->v0;
  state->v2 += state->v1;
  state->v1 = ROTATED(state->v1, 17) ^ state->v2;
  state->v2 = ROTATED(state->v2, 32);
}

static __always_inline void sip_start(struct siphash *state, __u64 k0, __u64 k1) {
  state->v0 = k0 ^ 0x736f6d6570736575;
  state->v1 = k1 ^ 0x646f72616e646f6d;
  state->v2 = k0 ^ 0x6c7967656e657261;
  state->v3 = k1 ^ 0x7465646279746573;
}

static __always_inline void sip_absorb(struct siphash *state, __u64 word) {
  state->v3 ^= word;
  sip_round(state);
  sip_round(state);
  state->v0 ^= word;
}

static __always_inline __u64 sip_finish(struct siphash *state) {
  state->v2 ^= 0xff;
  sip_round(state);
  sip_round(state);
  sip_round(state);
  sip_round(state);
  return state->v0 ^ state->v1 ^ state->v2 ^ state->v3;
}
