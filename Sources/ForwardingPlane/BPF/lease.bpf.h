// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Decisions under leases: whether a request is one that the program may place, and where it goes. docs/design/leased-handoff.md.
#pragma once

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, HANDOFF_MAX_WORKERS);
  __type(key, __u32);
  __type(value, struct lease_worker);
} lease_workers SEC(".maps");

// A target that is pushed out costs a question to the dispatcher.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, LEASE_MAX_TARGETS);
  __type(key, struct lease_target_key);
  __type(value, struct lease_target);
} lease_targets SEC(".maps");

// A hash, so that a reader sees an old record or a new one, never half of each.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, LEASE_MAX_NODES);
  __type(key, struct lease_node_key);
  __type(value, struct lease_node);
} lease_nodes SEC(".maps");

// Connections whose first data went to user space, with the number of their SYN: what repeats it goes there as well. Without
// this a repeated request could be handed off twice, once by each.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, LEASE_MAX_CLAIMS);
  __type(key, struct handoff_flow_key);
  __type(value, __u32);
} lease_claims SEC(".maps");

// The beginning of a request: "GET " in the upper half of the first word, so that the target begins with the second.
struct request_text {
  __u64 words[1 + LEASE_LONGEST_TARGET / 8 + 2];
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct request_text);
} lease_scratch SEC(".maps");

enum { METHOD_LENGTH = 4, VERSION_LENGTH = 10 };

struct request_target {
  __u64 hash;
  __u32 length;
};

// The hash of the bytes before the first space; false when there is none within the limit. Whether they are a valid target
// need not be asked: only those that a worker has seen are known.
__noinline int hash_target(const struct request_text *text, __u64 k0, __u64 k1, struct request_target *target) {
  if (!text || !target) return 0;
  struct siphash state;
  sip_start(&state, k0, k1);
  for (__u32 index = 0; index < LEASE_LONGEST_TARGET / 8 + 1; index++) {
    __u64 word = text->words[1 + index];
    __u64 spaces = word ^ 0x2020202020202020;
    // The highest bit of each byte that is a space, and perhaps of some behind the first: that one is exact.
    __u64 found = (spaces - 0x0101010101010101) & ~spaces & 0x8080808080808080;
    if (found) {
      __u64 before = ((found & -found) - 1) >> 7;
      __u32 rest = (before > 0) + (before > 0xff) + (before > 0xffff) + (before > 0xffffff) + (before > 0xffffffff) +
                   (before > 0xffffffffff) + (before > 0xffffffffffff);
      target->length = index * 8 + rest;
      sip_absorb(&state, (word & before) | (__u64)(target->length & 0xff) << 56);
      target->hash = sip_finish(&state);
      return target->length <= LEASE_LONGEST_TARGET;
    }
    sip_absorb(&state, word);
  }
  return 0;
}

static __always_inline bool is_version(const __u8 *text) {
  return text[0] == 'H' && text[1] == 'T' && text[2] == 'T' && text[3] == 'P' && text[4] == '/' && text[5] == '1' &&
         text[6] == '.' && (text[7] == '0' || text[7] == '1') && text[8] == '\r' && text[9] == '\n';
}

// Reads the target of a GET whose head is complete in this segment. Everything else is for user space.
static __always_inline bool read_target(
    struct __sk_buff *skb, const struct packet *packet, const struct handoff_handshake *shake,
    struct request_target *target) {
  __u32 zero = 0;
  struct request_text *text = bpf_map_lookup_elem(&lease_scratch, &zero);
  if (!text) return false;
  __u64 length = packet->end - packet->text;
  if (length > METHOD_LENGTH + LEASE_LONGEST_TARGET + 1) length = METHOD_LENGTH + LEASE_LONGEST_TARGET + 1;
  if (!within(&length, METHOD_LENGTH + VERSION_LENGTH, METHOD_LENGTH + LEASE_LONGEST_TARGET + 1)) return false;
  __u8 *bytes = (__u8 *)text->words + METHOD_LENGTH;
  if (bpf_skb_load_bytes(skb, packet->text, bytes, length)) return false;
  if (bytes[0] != 'G' || bytes[1] != 'E' || bytes[2] != 'T' || bytes[3] != ' ') return false;
  if (!hash_target(text, shake->target_key[0], shake->target_key[1], target)) return false;
  __u8 version[VERSION_LENGTH], end[4];
  __u32 behind = packet->text + METHOD_LENGTH + target->length + 1;
  if (behind + sizeof(version) > packet->end) return false;
  if (bpf_skb_load_bytes(skb, behind, version, sizeof(version)) || !is_version(version)) return false;
  if (bpf_skb_load_bytes(skb, packet->end - sizeof(end), end, sizeof(end))) return false;
  return end[0] == '\r' && end[1] == '\n' && end[2] == '\r' && end[3] == '\n';
}

// Takes a credit and says the term that it was granted in.
static __always_inline bool take_credit(struct lease_purse *purse, __u64 now, __u32 *term) {
  for (int attempt = 0; attempt < 2; attempt++) {
    __u64 credits = *(const volatile __u64 *)&purse->credits;
    if (!(__u32)credits || now >= *(const volatile __u64 *)&purse->expires) return false;
    if (__sync_val_compare_and_swap(&purse->credits, credits, credits - 1) != credits) continue;
    *term = credits >> 32;
    return true;
  }
  return false;
}

static __always_inline bool is_claimed(const struct packet *packet) {
  const __u32 *isn = bpf_map_lookup_elem(&lease_claims, &packet->key);
  return isn && *isn == packet->sequence - 1;
}

// Remembers that user space has the connection, when it has one.
__noinline int claim(
    const struct packet *packet, const struct handoff_handshake *shake, __u32 worker, __u64 now) {
  const struct lease_worker *lender = bpf_map_lookup_elem(&lease_workers, &worker);
  if (!packet || !shake || !lender || !lender->origin) return 0;
  if (!packet->ack || packet->rst || packet->text == packet->end) return 0;
  struct flow_words words;
  make_words(&words, &packet->key);
  __u32 isn = packet->sequence - 1;
  if (!is_cookie(shake, &words, isn, packet->acknowledgment - 1, now)) return 0;
  return bpf_map_update_elem(&lease_claims, &packet->key, &isn, BPF_ANY);
}
