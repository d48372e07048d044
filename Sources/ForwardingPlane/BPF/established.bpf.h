// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Packets of flows that are in the table: which of them end the flow, and what the entry remembers of the others.
#pragma once

static __always_inline bool is_served(const struct packet *packet) {
  struct handoff_service_key key = {.address = packet->key.service, .port = packet->key.service_port};
  return bpf_map_lookup_elem(&handoff_service, &key) != NULL;
}

__noinline bool confirms_challenge(
    const struct packet *packet, const struct handoff_handshake *shake, __u64 now) {
  if (!packet || !shake) return false;
  struct flow_words words;
  make_words(&words, &packet->key);
  for (int age = 0; age < 2; age++) {
    __u64 made = now - ((__u64)age << HANDOFF_COOKIE_COUNTER_SHIFT);
    const struct handoff_cookie_key *key = cookie_key(shake, made);
    if (key && challenge_number(key, &words, made) == packet->sequence) return true;
  }
  return false;
}

// An acknowledgment of a connection whose SYN was answered here although the tuple's last connection has a flow: its client
// had closed, or user space had not entered it yet.
__noinline bool begins_anew(
    const struct packet *packet, const struct handoff_flow_entry *entry, const struct handoff_handshake *shake,
    __u64 now) {
  if (!packet || !entry || !shake) return false;
  if (!packet->ack || packet->syn || packet->rst) return false;
  if (packet->sequence - 1 == entry->client_isn) return false;
  struct flow_words words;
  make_words(&words, &packet->key);
  return is_cookie(shake, &words, packet->sequence - 1, packet->acknowledgment - 1, now);
}

// A reset that may confirm a challenge.
static __always_inline bool may_confirm(const struct packet *packet) { return packet->rst && !packet->ack; }

// A flow whose client may use the tuple anew.
static __always_inline bool may_begin_anew(const struct handoff_flow_entry *entry) {
  return entry->flags & (HANDOFF_ENDED | HANDOFF_CLIENT_FIN | HANDOFF_CLIENT_RST);
}

// Notes what a packet for the back-end says of the connection.
static __always_inline void note(struct handoff_flow_entry *entry, const struct packet *packet, __u64 now) {
  __u8 flags = entry->flags | (packet->fin ? HANDOFF_CLIENT_FIN : 0) | (packet->rst ? HANDOFF_CLIENT_RST : 0);
  // Half of the number says enough: a client acknowledges far less than 64 KB at a time, and the flag stays.
  if (packet->ack && (__u16)packet->acknowledgment != entry->send_next) flags |= HANDOFF_CLIENT_ACKNOWLEDGED;
  // Written only when changed: the tick is coarse, and a clean cache line stays shared.
  if (entry->last_seen != now) entry->last_seen = now;
  if (entry->flags != flags) entry->flags = flags;
}
