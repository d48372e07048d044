// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// What is read of the kernel's own structures; the loader finds the places in the running kernel's BTF.
#pragma once

#define KERNEL __attribute__((preserve_access_index))

struct net {
  __u64 net_cookie;
} KERNEL;
typedef struct {
  struct net *net;
} possible_net_t;
// The loader leaves out what follows three underscores; linux/in6.h has the name already.
struct in6_addr___kernel {
  union {
    __be32 u6_addr32[4];
  } in6_u;
} KERNEL;
struct sock_common {
  __be32 skc_daddr;
  __be32 skc_rcv_saddr;
  __be16 skc_dport;
  unsigned short skc_family;
  possible_net_t skc_net;
  struct in6_addr___kernel skc_v6_daddr;
  struct in6_addr___kernel skc_v6_rcv_saddr;
} KERNEL;
struct sock {
  struct sock_common __sk_common;
  int sk_err;
} KERNEL;
struct inet_sock {
  __be16 inet_sport;
} KERNEL;
struct tcp_sock {
  __u64 bytes_received;
  __u64 bytes_acked;
} KERNEL;

// net/tcp_states.h and socket.h: part of the kernel's ABI (tcp_info, sock_diag).
enum { STATE_ESTABLISHED = 1, STATE_SYN_RECEIVED = 3, STATE_CLOSE = 7, STATE_LISTEN = 10 };
enum { FAMILY_IPV4 = 2, FAMILY_IPV6 = 10 };

// net/tcp.h (6.9): must have exactly this size.
struct bpf_tcp_req_attrs {
  __u32 rcv_tsval;
  __u32 rcv_tsecr;
  __u16 mss;
  __u8 rcv_wscale;
  __u8 snd_wscale;
  __u8 ecn_ok;
  __u8 wscale_ok;
  __u8 sack_ok;
  __u8 tstamp_ok;
  __u8 usec_ts_ok;
  __u8 reserved[3];
};
extern int bpf_sk_assign_tcp_reqsk(struct __sk_buff *skb, struct sock *sk, struct bpf_tcp_req_attrs *attrs, int size)
    __ksym;
