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
#define COPY_INTO(ring, skb, length, size)                                        \
  do {                                                                            \
    struct {                                                                      \
      struct handoff_ring_record record;                                          \
      __u8 bytes[size];                                                           \
    } *copy = bpf_ringbuf_reserve(ring, sizeof(*copy), 0);                        \
    if (!copy) return false;                                                      \
    copy->record.length = length;                                                 \
    copy->record.zero = 0;                                                        \
    if (bpf_skb_load_bytes(skb, ETH_HLEN, copy->bytes, length)) {                 \
      bpf_ringbuf_discard(copy, 0);                                               \
      return false;                                                               \
    }                                                                             \
    bpf_ringbuf_submit(copy, 0);                                                  \
    return true;                                                                  \
  } while (0)

static __noinline bool copy_small(struct __sk_buff *skb, void *ring, __u64 length) {
  if (!within(&length, 1, 496)) return false;
  COPY_INTO(ring, skb, length, 496);
}

static __noinline bool copy_packet(struct __sk_buff *skb, void *ring, __u64 length) {
  if (!within(&length, 1, 2032)) return false;
  COPY_INTO(ring, skb, length, 2032);
}

static __noinline bool copy_joined(struct __sk_buff *skb, void *ring, __u64 length) {
  if (!within(&length, 1, 65535)) return false;
  COPY_INTO(ring, skb, length, 65536);
}

// Copies the IP packet into the worker's ring; false when there is no room or it is too long.
static __always_inline bool copy_to_ring(struct __sk_buff *skb, const struct packet *packet, __u32 worker) {
  void *ring = bpf_map_lookup_elem(&handoff_rings, &worker);
  if (!ring) return false;
  __u32 length = packet->end - ETH_HLEN;
  if (length <= 496) return copy_small(skb, ring, length);
  if (length <= 2032) return copy_packet(skb, ring, length);
  return copy_joined(skb, ring, length);
}

// The end of a packet that user space has to see. `outcome` is what it counts as when it gets there.
static __always_inline int to_user_space(
    struct __sk_buff *skb, const struct packet *packet, const struct handoff_handshake *shake,
    enum handoff_outcome outcome, __u64 now) {
  if (!shake || !(shake->flags & HANDOFF_USES_RING)) return finish(outcome, PASS);
  __u32 worker = worker_of(shake, &packet->key);
  if (!is_alive(worker, now)) return finish(HANDOFF_UNATTENDED, CONSUMED);
  return finish(copy_to_ring(skb, packet, worker) ? outcome : HANDOFF_RING_FULL, CONSUMED);
}
