// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Errors that routers report about packets of handed-off connections: they belong to the node that sent the packets, which
// lowers its path MTU by them (RFC 1191, RFC 8201).
#pragma once

// Type, code, checksum and four bytes more: the same in both families (RFC 792, RFC 4443).
struct icmp_error {
  __u8 type, code;
  __be16 checksum;
  __be32 more;
};

struct ports {
  __be16 source, destination;
};

enum {
  ICMP_UNREACHABLE = 3,
  ICMP_TIME_IS_OVER = 11,
  ICMP_BAD_PARAMETER = 12,
  ICMPV6_LAST_ERROR = 127,
};

// The quoted packet went the other way: its source is the service.
static __always_inline int read_quoted_ports(hook_context *context, __u32 offset, struct handoff_flow_key *key) {
  const struct ports *ports = header(context, offset, sizeof(*ports));
  if (!ports) return HANDOFF_NOT_SERVICE;
  key->service_port = ports->source;
  key->client_port = ports->destination;
  return GO_ON;
}

// The flow of an ICMP error; anything that is not one is not the program's business.
static __always_inline int parse_icmp(hook_context *context, __u32 offset, struct handoff_flow_key *key) {
  const struct icmp_error *error = header(context, offset, sizeof(*error));
  if (!error) return HANDOFF_NOT_SERVICE;
  if (error->type != ICMP_UNREACHABLE && error->type != ICMP_TIME_IS_OVER && error->type != ICMP_BAD_PARAMETER) {
    return HANDOFF_NOT_SERVICE;
  }
  offset += sizeof(*error);
  const struct iphdr *quoted = header(context, offset, sizeof(*quoted));
  if (!quoted || quoted->version != 4 || quoted->ihl < 5 || quoted->protocol != IPPROTO_TCP) return HANDOFF_NOT_SERVICE;
  __builtin_memset(key, 0, sizeof(*key));
  key->client.words[2] = key->service.words[2] = bpf_htonl(0xffff);
  key->client.words[3] = quoted->daddr;
  key->service.words[3] = quoted->saddr;
  return read_quoted_ports(context, offset + quoted->ihl * 4, key);
}

static __always_inline int parse_icmpv6(hook_context *context, __u32 offset, struct handoff_flow_key *key) {
  const struct icmp_error *error = header(context, offset, sizeof(*error));
  if (!error || error->type == 0 || error->type > ICMPV6_LAST_ERROR) return HANDOFF_NOT_SERVICE;
  offset += sizeof(*error);
  const struct ipv6hdr *quoted = header(context, offset, sizeof(*quoted));
  if (!quoted || quoted->version != 6 || quoted->nexthdr != IPPROTO_TCP) return HANDOFF_NOT_SERVICE;
  __builtin_memcpy(&key->client, &quoted->daddr, sizeof(key->client));
  __builtin_memcpy(&key->service, &quoted->saddr, sizeof(key->service));
  return read_quoted_ports(context, offset + sizeof(*quoted), key);
}
