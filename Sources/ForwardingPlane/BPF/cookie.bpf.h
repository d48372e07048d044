// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// SYN cookies: the same numbers as `SynCookie` and `CookieTimestamp` in Swift, which describe them.
#pragma once

// The scale of a client that offers none.
enum { NO_SCALE = 15 };

static __always_inline struct handoff_handshake *handshake(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&handoff_shake, &zero);
}

static __always_inline __u32 cookie_counter(__u64 now) { return (__u32)(now >> HANDOFF_COOKIE_COUNTER_SHIFT); }

// The key in force at `now`, NULL when nobody has written it.
static __always_inline const struct handoff_cookie_key *cookie_key(const struct handoff_handshake *shake, __u64 now) {
  __u64 period = now >> HANDOFF_COOKIE_PERIOD_SHIFT;
  const struct handoff_cookie_key *key = period & 1 ? &shake->keys[1] : &shake->keys[0];
  // A map that nobody has written is all zeros, and so is the first period after boot.
  return key->period == period && key->tag ? key : NULL;
}

// Three bits of the largest size that is not above the client's.
static __always_inline __u32 cookie_size(__u16 segment_size) {
  if (segment_size < 1024) return 0;
  if (segment_size < 1220) return 1;
  if (segment_size < 1300) return 2;
  if (segment_size < 1380) return 3;
  if (segment_size < 1412) return 4;
  if (segment_size < 1440) return 5;
  if (segment_size < 1460) return 6;
  return 7;
}

// Three bits of the largest scale that is not above the client's; 0 is none.
static __always_inline __u32 cookie_scale(__u8 scale) {
  if (scale == NO_SCALE) return 0;
  if (scale < 2) return 1;
  if (scale < 4) return 2;
  if (scale < 6) return 3;
  if (scale < 7) return 4;
  if (scale < 8) return 5;
  if (scale < 10) return 6;
  return 7;
}

// What the client offered, in seven bits.
static __always_inline __u32 cookie_code(__u16 segment_size, __u8 scale, bool sack) {
  return (sack ? 64 : 0) | cookie_scale(scale) << 3 | cookie_size(segment_size);
}

static __always_inline __u32 cookie_from(__u64 flow_key, __u64 tag_key, __u32 counter, __u32 code) {
  __u32 tag = (__u32)siphash_word((__u32)(counter << 7 | code), flow_key, tag_key) & 0x00ffffff;
  __u32 mask = (__u32)(flow_key >> 32) & 0xff000000;
  return (((counter & 1) << 31 | code << 24) ^ mask) | tag;
}

static __always_inline __u32 make_cookie(
    const struct handoff_cookie_key *key, const struct flow_words *words, __u32 isn, __u32 code, __u64 now) {
  __u64 flow_key = siphash_flow(words, key->outer[0], key->outer[1], isn);
  return cookie_from(flow_key, key->tag, cookie_counter(now), code);
}

// What the client offered, if `number` is the cookie that this flow got for `isn`, now or one count ago; else -1.
static __always_inline int read_cookie(
    const struct handoff_handshake *shake, const struct flow_words *words, __u32 isn, __u32 number, __u64 now) {
  for (int age = 0; age < 2; age++) {
    __u64 made = now - ((__u64)age << HANDOFF_COOKIE_COUNTER_SHIFT);
    const struct handoff_cookie_key *key = cookie_key(shake, made);
    if (!key) continue;
    __u64 flow_key = siphash_flow(words, key->outer[0], key->outer[1], isn);
    __u32 upper = (number ^ (__u32)(flow_key >> 32)) >> 24;
    __u32 counter = cookie_counter(made);
    // The tag is only worth computing when the counter's bit is right.
    if (upper >> 7 != (counter & 1)) continue;
    if (cookie_from(flow_key, key->tag, counter, upper & 127) == number) return upper & 127;
  }
  return -1;
}

static __always_inline bool is_cookie(
    const struct handoff_handshake *shake, const struct flow_words *words, __u32 isn, __u32 number, __u64 now) {
  return read_cookie(shake, words, isn, number, now) >= 0;
}

// The segment size that a cookie says.
static __always_inline __u16 size_of_cookie(__u32 code) {
  switch (code & 7) {
    case 0: return 536;
    case 1: return 1024;
    case 2: return 1220;
    case 3: return 1300;
    case 4: return 1380;
    case 5: return 1412;
    case 6: return 1440;
    default: return 1460;
  }
}

// The scale that a cookie says: at most the client's.
static __always_inline __u8 scale_of_cookie(__u32 code) {
  switch (code >> 3 & 7) {
    case 0: return NO_SCALE;
    case 1: return 0;
    case 2: return 2;
    case 3: return 4;
    case 4: return 6;
    case 5: return 7;
    case 6: return 8;
    default: return 10;
  }
}

// The number that a client's reset must quote to end a flow that is alive. Its own keys: what a client learns of it says
// nothing of cookies.
static __always_inline __u32 challenge_number(
    const struct handoff_cookie_key *key, const struct flow_words *words, __u64 now) {
  return (__u32)siphash_flow(words, key->outer[1], key->tag, cookie_counter(now));
}

// Our clock for a client, the same as in user space. It is that of the addresses alone: the ports of `words` get lost.
static __always_inline __u32 client_clock(const struct handoff_handshake *shake, struct flow_words *words, __u64 now) {
  words->ports = 0;
  __u32 offset = (__u32)siphash_flow(words, shake->timestamp_key[0], shake->timestamp_key[1], 0);
  return (__u32)(now / 1000000) + offset;
}

// By how much the client's scale is above the one that the cookie says, as far as two bits can.
static __always_inline __u32 scale_above(__u8 scale) {
  if (scale == NO_SCALE) return 0;
  __u32 above = scale - scale_of_cookie(cookie_scale(scale) << 3);
  return above < 3 ? above : 3;
}

// The client's scale, of which the cookie says `least`, from the echo of its first timestamp.
static __always_inline __u8 exact_scale(__u8 least, __u32 echo) {
  __u8 scale = least + (echo & 3);
  return least != NO_SCALE && cookie_scale(scale) == cookie_scale(least) ? scale : least;
}

// Our timestamp for a client: its clock, with the rest of its scale in the two low bits.
static __always_inline __u32 cookie_timestamp(
    const struct handoff_handshake *shake, const struct flow_words *words, __u64 now, __u8 scale) {
  struct flow_words addresses = *words;
  __u32 value = client_clock(shake, &addresses, now);
  __u32 coded = (value & ~3u) | scale_above(scale);
  return (__s32)(value - coded) < 0 ? coded - 4 : coded;
}
