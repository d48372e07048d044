// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Gives handed-off connections to the node's own web server, without a relay: at tc ingress of the node's interface and of
// `lo`, and at the tracepoint of TCP's state changes. docs/design/direct.md has the picture and the reasons.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "handoff_packet.h"
#include "serve_plane.h"

// In this order: each uses those before it.
#include "kernel_socket.bpf.h"
#include "serve_maps.bpf.h"
#include "frame.bpf.h"
#include "serve_packet.bpf.h"
#include "siphash.bpf.h"
#include "decapsulate.bpf.h"

// MARK: Packets

// TC_ACT_UNSPEC rather than TC_ACT_OK: filters of others at this hook still see the packet.
enum { PASS = TC_ACT_UNSPEC, DROP = TC_ACT_SHOT };

static __always_inline struct serve_counters *counters(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&serve_counts, &zero);
}

static __always_inline int finish(enum serve_outcome outcome, int verdict) {
  struct serve_counters *counts = counters();
  if (counts && outcome < SERVE_OUTCOMES) counts->packets[outcome]++;
  return verdict;
}

// A socket that packets from the client to this endpoint would find: of any state, a listener as the last resort.
static __always_inline struct bpf_sock *lookup(
    struct __sk_buff *skb, const struct packet *packet, const struct serve_address *address, __u16 port) {
  struct bpf_sock_tuple tuple;
  if (packet->is_ipv4) {
    tuple.ipv4.saddr = packet->key.client.words[3];
    tuple.ipv4.daddr = address->words[3];
    tuple.ipv4.sport = packet->key.client_port;
    tuple.ipv4.dport = port;
    return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
  }
  __builtin_memcpy(tuple.ipv6.saddr, packet->key.client.words, sizeof(tuple.ipv6.saddr));
  __builtin_memcpy(tuple.ipv6.daddr, address->words, sizeof(tuple.ipv6.daddr));
  tuple.ipv6.sport = packet->key.client_port;
  tuple.ipv6.dport = port;
  return bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

static __always_inline void tell(__u32 loop, const struct serve_event *event, __u64 flags) {
  void *ring = bpf_map_lookup_elem(&serve_rings, &loop);
  if (ring && bpf_ringbuf_output(ring, (void *)event, sizeof(*event), flags) == 0) return;
  struct serve_counters *counts = counters();
  if (counts) counts->events_lost++;
}

// Wakes the loop only when it does not look by itself, or when many connections have ended: how many are open is what the
// dispatcher decides by, and it counts those that a distributor hands over without being told.
static __always_inline void tell_or_wait(__u32 loop, const struct serve_event *event) {
  struct serve_attention *attention = bpf_map_lookup_elem(&serve_watching, &loop);
  if (!attention || bpf_ktime_get_ns() >= *(const volatile __u64 *)&attention->watching) {
    tell(loop, event, 0);
    return;
  }
  __u64 flags = BPF_RB_NO_WAKEUP;
  if (event->kind == SERVE_ENDED && __sync_fetch_and_add(&attention->told, 1) == SERVE_TOLD_TOGETHER - 1)
    flags = BPF_RB_FORCE_WAKEUP;
  tell(loop, event, flags);
}

static __always_inline int refuse(struct serve_pending *pending, enum serve_result result, enum serve_outcome outcome) {
  pending->result = result;
  return finish(outcome, DROP);
}

// Makes the listener take this segment as the last one of a handshake that a SYN cookie has begun.
static __always_inline int assign(struct __sk_buff *skb, struct serve_pending *pending, struct bpf_sock *socket) {
  struct sock *listener = (struct sock *)bpf_skc_to_tcp_sock(socket);
  int code = -22;
  if (listener) {
    struct bpf_tcp_req_attrs attributes = {
        .rcv_tsval = pending->timestamp_value,
        .rcv_tsecr = pending->timestamp_echo,
        .mss = pending->mss,
        .rcv_wscale = pending->receive_scale,
        .snd_wscale = pending->send_scale,
        .wscale_ok = !!(pending->options & SERVE_WINDOW_SCALE),
        .sack_ok = !!(pending->options & SERVE_SACK),
        .tstamp_ok = !!(pending->options & SERVE_TIMESTAMPS),
    };
    code = bpf_sk_assign_tcp_reqsk(skb, listener, &attributes, sizeof(attributes));
  }
  bpf_sk_release(socket);
  if (code) {
    pending->error = code;
    return refuse(pending, SERVE_REFUSED, SERVE_OUT_REFUSED);
  }
  pending->result = SERVE_ASSIGNED;
  return finish(pending->origin ? SERVE_OUT_HANDOFF_ASSIGNED : SERVE_OUT_ASSIGNED, PASS);
}

static __always_inline int install(
    struct __sk_buff *skb, const struct packet *packet, const struct serve_listener *server,
    struct serve_pending *pending) {
  struct bpf_sock *socket = lookup(skb, packet, &packet->key.service, packet->key.service_port);
  if (socket) {
    if (socket->state != STATE_LISTEN) {
      bpf_sk_release(socket);
      return refuse(pending, SERVE_TUPLE_BUSY, SERVE_OUT_TUPLE_BUSY);
    }
    if (server->port == packet->key.service_port) return assign(skb, pending, socket);
    // Somebody else's listener at the served port.
    bpf_sk_release(socket);
  }
  socket = lookup(skb, packet, &packet->key.service, server->port);
  // A server that listens on the loopback address alone: the connection has the served address all the same.
  if (!socket) socket = lookup(skb, packet, &server->address, server->port);
  if (!socket) return refuse(pending, SERVE_NO_LISTENER, SERVE_OUT_NO_LISTENER);
  if (socket->state != STATE_LISTEN) {
    bpf_sk_release(socket);
    return refuse(pending, SERVE_NO_LISTENER, SERVE_OUT_NO_LISTENER);
  }
  return assign(skb, pending, socket);
}

#include "handoff_tag.bpf.h"
#include "serve_handoff.bpf.h"

SEC("tc")
int handoff_serve(struct __sk_buff *skb) {
  struct packet packet;
  // Flooded frames for other nodes come by here as well (veth, promiscuous mode).
  if (skb->pkt_type != PACKET_HOST || skb->vlan_present) return finish(SERVE_OUT_NOT_SERVICE, PASS);
  int parsed = parse(skb, true, &packet);
  if (parsed == SERVE_OUT_NOT_SERVICE) return receive_handoff(skb);
  if (parsed != GO_ON) return finish(parsed, PASS);
  struct serve_service_key service = {.address = packet.key.service, .port = packet.key.service_port};
  const struct serve_listener *server = bpf_map_lookup_elem(&serve_services, &service);
  if (!server) return finish(SERVE_OUT_NOT_SERVICE, PASS);
  if (packet.syn) return finish(SERVE_OUT_SYN, PASS);

  // Only what the agent itself put on `lo` (always interface 1) installs: nobody outside can.
  if (skb->ifindex == 1) {
    struct serve_pending *pending = bpf_map_lookup_elem(&serve_waiting, &packet.key);
    if (pending && pending->sequence == packet.sequence && pending->acknowledgment == packet.acknowledgment)
      return install(skb, &packet, server, pending);
  }
  if (!packet.has_payload || packet.fin || packet.rst) return finish(SERVE_OUT_CONTROL, PASS);
  struct bpf_sock *socket = lookup(skb, &packet, &packet.key.service, packet.key.service_port);
  bool exists = socket && socket->state != STATE_LISTEN;
  if (socket) bpf_sk_release(socket);
  return exists ? finish(SERVE_OUT_CONNECTION, PASS) : finish(SERVE_OUT_NO_CONNECTION, DROP);
}

// At egress, and only while a connection is being removed that its client must not see end.
SEC("tc")
int handoff_silence(struct __sk_buff *skb) {
  struct packet packet;
  if (parse(skb, false, &packet) != GO_ON || !packet.rst) return PASS;
  if (!bpf_map_lookup_elem(&serve_silenced, &packet.key)) return PASS;
  struct serve_counters *counts = counters();
  if (counts) counts->silenced++;
  return DROP;
}

// In the place of handoff_silence between its uses, at tcx: to replace it takes no grace period, as to attach it would.
SEC("tc")
int handoff_idle(struct __sk_buff *skb) {
  (void)skb;
  return PASS;
}

// MARK: Connections

static __always_inline bool connection_key(const struct sock *sk, struct serve_key *key) {
  __builtin_memset(key, 0, sizeof(*key));
  if (sk->__sk_common.skc_family == FAMILY_IPV4) {
    key->client.words[2] = key->service.words[2] = bpf_htonl(0xffff);
    key->client.words[3] = sk->__sk_common.skc_daddr;
    key->service.words[3] = sk->__sk_common.skc_rcv_saddr;
  } else if (sk->__sk_common.skc_family == FAMILY_IPV6) {
    // A listener for both families: its IPv4 connections have mapped addresses here.
    BPF_CORE_READ_INTO(&key->client, sk, __sk_common.skc_v6_daddr);
    BPF_CORE_READ_INTO(&key->service, sk, __sk_common.skc_v6_rcv_saddr);
  } else {
    return false;
  }
  key->client_port = sk->__sk_common.skc_dport;
  // Not skc_num: a socket that closes has given its port back by then (`tcp_set_state`).
  BPF_CORE_READ_INTO(&key->service_port, (struct inet_sock *)sk, inet_sport);
  return true;
}

static __always_inline void established(struct sock *sk) {
  struct serve_key key;
  if (!connection_key(sk, &key)) return;
  struct serve_pending *pending = bpf_map_lookup_elem(&serve_waiting, &key);
  // Another namespace may have a connection of the same 4-tuple; and until it is assigned, it is not ours.
  if (!pending || pending->result != SERVE_ASSIGNED) return;
  struct serve_event event = {.kind = SERVE_ESTABLISHED, .token = pending->token, .origin = pending->origin};
  struct serve_connection record = {
      .token = pending->token, .origin = pending->origin, .since = bpf_ktime_get_ns(), .loop = pending->loop};
  bpf_map_delete_elem(&serve_waiting, &key);
  struct serve_counters *counts = counters();
  if (counts) counts->established++;
  if (!bpf_sk_storage_get(&serve_records, sk, &record, BPF_SK_STORAGE_GET_F_CREATE) && counts) counts->untracked++;
  if (event.origin) {
    __builtin_memcpy(&event.key, &key, sizeof(key));
    tell_or_wait(record.loop, &event);
  } else {
    // The loop looks for it after injecting; no need to wake it.
    tell(record.loop, &event, BPF_RB_NO_WAKEUP);
  }
}

static __always_inline void ended(struct sock *sk, const struct serve_connection *record, int last_state) {
  struct tcp_sock *tcp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
  struct serve_event event = {
      .kind = SERVE_ENDED, .token = record->token, .origin = record->origin, .last_state = last_state};
  event.error = sk->sk_err;
  __u64 now = bpf_ktime_get_ns();
  event.duration = now - record->since;
  if (tcp) {
    event.bytes_from_client = tcp->bytes_received;
    event.bytes_to_client = tcp->bytes_acked;
  }
  struct serve_counters *counts = counters();
  if (counts) counts->ended++;
  tell_or_wait(record->loop, &event);
}

// The end of a connection whose establishment this program was not run for. One that only tried to be (SYN_RECEIVED, its
// listener was gone) is none.
static __always_inline bool ended_unseen(struct sock *sk, const struct serve_key *key, int last_state) {
  if (last_state == STATE_SYN_RECEIVED) return false;
  struct serve_pending *pending = bpf_map_lookup_elem(&serve_waiting, key);
  if (!pending || pending->result != SERVE_ASSIGNED) return false;
  struct serve_connection record = {
      .token = pending->token, .origin = pending->origin, .since = bpf_ktime_get_ns(), .loop = pending->loop};
  struct serve_event event = {.kind = SERVE_ESTABLISHED, .token = record.token, .origin = record.origin};
  if (bpf_map_delete_elem(&serve_waiting, key)) return false;
  struct serve_counters *counts = counters();
  if (counts) counts->established++;
  __builtin_memcpy(&event.key, key, sizeof(*key));
  tell_or_wait(record.loop, &event);
  ended(sk, &record, last_state);
  return true;
}

SEC("tp_btf/inet_sock_set_state")
int handoff_states(__u64 *arguments) {
  struct sock *sk = (struct sock *)arguments[0];
  int old_state = (int)arguments[1], new_state = (int)arguments[2];
  bool opens = new_state == STATE_ESTABLISHED && old_state == STATE_SYN_RECEIVED;
  bool ends = new_state == STATE_CLOSE && old_state != STATE_CLOSE && old_state != STATE_LISTEN;
  if (!opens && !ends) return 0;
  __u32 zero = 0;
  const struct serve_settings *settings = bpf_map_lookup_elem(&serve_settings, &zero);
  if (!settings || sk->__sk_common.skc_net.net->net_cookie != settings->namespace_cookie) return 0;
  if (opens) {
    established(sk);
    return 0;
  }
  struct serve_connection *record = bpf_sk_storage_get(&serve_records, sk, NULL, 0);
  if (record) {
    // It goes with the socket, at once and without a grace period, which to remove it here would take. A server may use the
    // socket for another connection.
    if (!record->is_over) ended(sk, record, old_state);
    record->is_over = 1;
    return 0;
  }
  struct serve_key key;
  if (!connection_key(sk, &key) || ended_unseen(sk, &key, old_state) || !settings->adopts) return 0;
  record = bpf_map_lookup_elem(&serve_adopted, &key);
  if (!record) return 0;
  ended(sk, record, old_state);
  bpf_map_delete_elem(&serve_adopted, &key);
  return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
