// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// The options of a SYN: the rules of `TCPOptions.parse` in Swift.
#pragma once

enum { LONGEST_TCP_HEADER = 60 };

struct syn_options {
  __u32 timestamp;
  __u16 segment_size;
  // NO_SCALE (cookie.bpf.h) without the option.
  __u8 scale;
  bool has_segment_size, has_timestamp, sack;
};

// A TCP header with its options, in words for the checksum, zero behind its end. The four bytes behind the longest header
// let a rule look at a whole option before it is known to fit.
struct tcp_text {
  __u8 bytes[LONGEST_TCP_HEADER + 12];
};

static __always_inline __u32 word_at(const __u8 *bytes) {
  return (__u32)bytes[0] << 24 | (__u32)bytes[1] << 16 | (__u32)bytes[2] << 8 | bytes[3];
}

struct option_walk {
  const struct tcp_text *text;
  struct syn_options *options;
  __u32 offset, end;
  bool bad;
};

// One step of the walk; 1 ends it.
static long take_option(__u32 round, void *context) {
  struct option_walk *walk = context;
  (void)round;
  __u32 offset = walk->offset;
  if (offset >= walk->end || offset > LONGEST_TCP_HEADER - 1) return 1;
  const __u8 *option = &walk->text->bytes[offset];
  __u8 kind = option[0];
  if (kind == 0) return 1;
  if (kind == 1) {
    walk->offset = offset + 1;
    return 0;
  }
  __u8 length = option[1];
  walk->bad = true;
  if (offset + 1 >= walk->end || length < 2 || offset + length > walk->end) return 1;
  switch (kind) {
    case 2:
      if (length != 4) return 1;
      walk->options->segment_size = (__u16)(option[2] << 8 | option[3]);
      walk->options->has_segment_size = true;
      break;
    case 3:
      if (length != 3) return 1;
      walk->options->scale = option[2] > 14 ? 14 : option[2];
      break;
    case 4:
      if (length != 2) return 1;
      walk->options->sack = true;
      break;
    case 8:
      if (length != 10) return 1;
      walk->options->timestamp = word_at(option + 2);
      walk->options->has_timestamp = true;
      break;
    default: break;
  }
  walk->bad = false;
  walk->offset = offset + length;
  return 0;
}

// 0 for options that break a rule. `length` is that of the TCP header.
__noinline int parse_options(const struct tcp_text *text, __u32 length, struct syn_options *options) {
  if (!text || !options) return 0;
  __builtin_memset(options, 0, sizeof(*options));
  options->scale = NO_SCALE;
  struct option_walk walk = {.text = text, .options = options, .offset = sizeof(struct tcphdr), .end = length};
  bpf_loop(LONGEST_TCP_HEADER - sizeof(struct tcphdr) + 1, take_option, &walk, 0);
  return !walk.bad;
}
