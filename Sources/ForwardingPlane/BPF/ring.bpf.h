// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// The way of packets to user space that needs no netfilter: copied into the ring of the flow's worker, then consumed.
#pragma once

// The worker of a flow: the same for all its packets.
static __always_inline __u32 worker_of(const struct handoff_handshake *shake, const struct handoff_flow_key *key) {
  __u64 mixed = shake->spread_key ^ ((__u64)key->client_port << 16 | key->service_port);
  for (int word = 0; word < 4; word++) mixed = (mixed ^ key->client.words[word]) * 0x9e3779b97f4a7c15 ^ mixed >> 29;
  mixed = (mixed ^ mixed >> 32) * 0xd6e8feb86659fd93;
  __u32 worker = (mixed >> 32) * shake->workers >> 32;
  return worker < HANDOFF_MAX_WORKERS ? worker : 0;
}

static __always_inline bool is_alive(__u32 worker, __u64 now) {
  __u64 *until = bpf_map_lookup_elem(&handoff_alive, &worker);
  return until && now < *until;
}

// The verifier wants the size of a record to be known: three sizes, of which the ring's memory loses the rest.
enum { SMALL_PACKET = 472, SINGLE_PACKET = 2008 };

#define COPY_INTO(ring, skb, length, size, about, wakes)                          \
  do {                                                                            \
    struct {                                                                      \
      struct handoff_ring_record record;                                          \
      __u8 bytes[size];                                                           \
    } *copy = bpf_ringbuf_reserve(ring, sizeof(*copy), 0);                        \
    if (!copy) return false;                                                      \
    copy->record = *about;                                                        \
    copy->record.length = length;                                                 \
    if (bpf_skb_load_bytes(skb, ETH_HLEN, copy->bytes, length)) {                 \
      bpf_ringbuf_discard(copy, 0);                                               \
      return false;                                                               \
    }                                                                             \
    bpf_ringbuf_submit(copy, wakes);                                              \
    return true;                                                                  \
  } while (0)

static __noinline bool copy_small(
    struct __sk_buff *skb, void *ring, __u64 length, const struct handoff_ring_record *about, __u64 wakes) {
  if (!within(&length, 1, SMALL_PACKET)) return false;
  COPY_INTO(ring, skb, length, SMALL_PACKET, about, wakes);
}

static __noinline bool copy_single(
    struct __sk_buff *skb, void *ring, __u64 length, const struct handoff_ring_record *about, __u64 wakes) {
  if (!within(&length, 1, SINGLE_PACKET)) return false;
  COPY_INTO(ring, skb, length, SINGLE_PACKET, about, wakes);
}

static __noinline bool copy_joined(
    struct __sk_buff *skb, void *ring, __u64 length, const struct handoff_ring_record *about, __u64 wakes) {
  if (!within(&length, 1, 65535)) return false;
  COPY_INTO(ring, skb, length, 65536, about, wakes);
}

// Copies the IP packet into the worker's ring, behind what is to be said about it; false when there is no room or it is too
// long. `wakes` are the flags of bpf_ringbuf_submit.
static __always_inline bool copy_to_ring(
    struct __sk_buff *skb, const struct packet *packet, __u32 worker, const struct handoff_ring_record *about,
    __u64 wakes) {
  void *ring = bpf_map_lookup_elem(&handoff_rings, &worker);
  if (!ring) return false;
  // A worker that is not woken for each packet is woken for a ring that fills.
  if (wakes == BPF_RB_NO_WAKEUP && bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) > bpf_ringbuf_query(ring, BPF_RB_RING_SIZE) / 4)
    wakes = BPF_RB_FORCE_WAKEUP;
  __u32 length = packet->end - ETH_HLEN;
  if (length <= SMALL_PACKET) return copy_small(skb, ring, length, about, wakes);
  if (length <= SINGLE_PACKET) return copy_single(skb, ring, length, about, wakes);
  return copy_joined(skb, ring, length, about, wakes);
}

// The end of a packet that user space has to see. `outcome` is what it counts as when it gets there.
static __always_inline int to_user_space(
    struct __sk_buff *skb, const struct packet *packet, const struct handoff_handshake *shake,
    enum handoff_outcome outcome, __u64 now) {
  if (!shake || !(shake->flags & HANDOFF_USES_RING)) return finish(outcome, PASS);
  __u32 worker = worker_of(shake, &packet->key);
  if (!is_alive(worker, now)) return finish(HANDOFF_UNATTENDED, CONSUMED);
  struct handoff_ring_record record = {};
  // What was handed off before may lie unread in the ring without the worker being woken for it.
  bool copied = copy_to_ring(skb, packet, worker, &record, BPF_RB_FORCE_WAKEUP);
  return finish(copied ? outcome : HANDOFF_RING_FULL, CONSUMED);
}
