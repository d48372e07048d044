// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause
//
// Reading a BPF ring buffer (kernel documentation bpf/ringbuf): positions are shared with the kernel and need ordered
// access, which Swift has no words for on memory that it does not own.
#pragma once
#include <stdint.h>
#include <stddef.h>

// The payload of the record at `*position`, NULL when the kernel has not finished it or there is none. `*position` moves
// behind it. Records that the kernel took back are passed over.
static inline const void *event_ring_next(
    const void *producer, const void *data, uint64_t size, uint64_t *position, uint32_t *length) {
  uint64_t end = __atomic_load_n((const uint64_t *)producer, __ATOMIC_ACQUIRE);
  while (*position < end) {
    const char *record = (const char *)data + (*position & (size - 1));
    uint32_t header = __atomic_load_n((const uint32_t *)record, __ATOMIC_ACQUIRE);
    if (header & 0x80000000u) return NULL;  // busy
    uint32_t bytes = header & 0x3fffffffu;
    *position += (bytes + 8 + 7) & ~7u;
    if (header & 0x40000000u) continue;  // discarded
    *length = bytes;
    return record + 8;
  }
  return NULL;
}

// Gives everything before `position` back to the kernel. The fence keeps the next look at the producer behind the store: a
// record that is committed in between either shows there or wakes us (`bpf_ringbuf_commit`).
static inline void event_ring_release(void *consumer, uint64_t position) {
  __atomic_store_n((uint64_t *)consumer, position, __ATOMIC_RELEASE);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
