// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
SEC("tc") int forward(struct __sk_buff *skb) { (void)skb; return TC_ACT_OK; }
char LICENSE[] SEC("license") = "Dual BSD/GPL";
