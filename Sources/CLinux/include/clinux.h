// SPDX-License-Identifier: Apache-2.0
// Kernel headers that Glibc's Swift module does not export, and macros that Swift cannot import.
#pragma once
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

// netinet/in.h and linux/in.h clash; these are ABI constants (include/uapi/linux/in.h, in6.h, tcp.h).
enum {
  clinux_IP_TRANSPARENT = 19,
  clinux_IP_FREEBIND = 15,
  clinux_IPV6_TRANSPARENT = 75,
  clinux_IPV6_FREEBIND = 78,
  clinux_IPV6_HDRINCL = 36,
  clinux_TCP_USER_TIMEOUT = 18,
  clinux_TCP_REPAIR = 19,
  clinux_TCP_REPAIR_QUEUE = 20,
  clinux_TCP_QUEUE_SEQ = 21,
  clinux_TCP_REPAIR_OPTIONS = 22,
  clinux_TCP_TIMESTAMP = 24,
  clinux_TCP_REPAIR_WINDOW = 29,
};

// prctl is variadic; the kernel keeps 15 bytes of the name.
static inline int clinux_set_thread_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

// Glibc declares these behind _GNU_SOURCE, which would change the prototypes of the socket calls as Swift sees them.
static inline int clinux_setns_network(int fd) { return (int)syscall(SYS_setns, fd, 0x40000000 /* CLONE_NEWNET */); }
static inline int clinux_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
  return (int)syscall(SYS_accept4, fd, address, length, flags);
}
struct clinux_mmsghdr {
  struct msghdr header;
  unsigned int length;
};
static inline int clinux_recvmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags) {
  return (int)syscall(SYS_recvmmsg, fd, messages, count, flags, (void *)0);
}
static inline int clinux_sendmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags) {
  return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}
// For starting programs; glibc (2.34) declares the two spawn actions behind _GNU_SOURCE only.
#include <spawn.h>
extern int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *, const char *);
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);
static inline int clinux_spawn_in_directory(posix_spawn_file_actions_t *actions, const char *path) {
  return posix_spawn_file_actions_addchdir_np(actions, path);
}
static inline int clinux_spawn_close_from(posix_spawn_file_actions_t *actions, int first) {
  return posix_spawn_file_actions_addclosefrom_np(actions, first);
}
static inline int clinux_pidfd_open(int pid) { return (int)syscall(434 /* SYS_pidfd_open */, pid, 0); }
static inline int clinux_memfd_create(const char *name) { return (int)syscall(SYS_memfd_create, name, 1 /* MFD_CLOEXEC */); }
// Words that the kernel writes or reads at the same time (BPF ring buffers).
static inline unsigned long clinux_load_acquire(const unsigned long *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline unsigned int clinux_load_acquire_32(const unsigned int *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline void clinux_store_release(unsigned long *word, unsigned long value) {
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
}
static inline int clinux_replace_if(unsigned long *word, unsigned long expected, unsigned long value) {
  return __atomic_compare_exchange_n(word, &expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
// MEMBARRIER_CMD_GLOBAL (include/uapi/linux/membarrier.h).
static inline int clinux_membarrier_global(void) { return (int)syscall(SYS_membarrier, 1, 0, 0); }
// For timing finer than a millisecond: waits with a timespec (Linux 5.11), and a thread's timer slack.
static inline int clinux_epoll_pwait2(int fd, struct epoll_event *events, int count, long seconds, long nanoseconds) {
  const long timeout[2] = {seconds, nanoseconds};
  return (int)syscall(441 /* SYS_epoll_pwait2 */, fd, events, count, timeout, (void *)0, 0);
}
static inline int clinux_set_timer_slack(unsigned long nanoseconds) {
  return prctl(PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0);
}
// Ties the calling thread to one processor (below 1024, the size of glibc's cpu_set_t).
static inline int clinux_pin_thread(unsigned int processor) {
  unsigned long mask[1024 / (8 * sizeof(unsigned long))] = {0};
  if (processor >= 1024) return -1;
  mask[processor / (8 * sizeof(unsigned long))] = 1UL << (processor % (8 * sizeof(unsigned long)));
  return (int)syscall(SYS_sched_setaffinity, 0, sizeof mask, mask);
}
// For checks of a host: a network namespace of the calling thread's own, a device's flags, the state of the clock.
static inline int clinux_unshare_network(void) { return (int)syscall(SYS_unshare, 0x40000000 /* CLONE_NEWNET */); }
#include <sys/ioctl.h>
#include <linux/ethtool.h>
static inline int clinux_ethtool_flags(int fd, const char *interface, unsigned int *flags) {
  struct ethtool_value value = {.cmd = ETHTOOL_GFLAGS};
  struct ifreq request = {0};
  for (int i = 0; i < IFNAMSIZ - 1 && interface[i]; i++) request.ifr_name[i] = interface[i];
  request.ifr_data = (char *)&value;
  int result = ioctl(fd, SIOCETHTOOL, &request);
  *flags = value.data;
  return result;
}
#include <sys/timex.h>
// TIME_ERROR (5) when nothing keeps the clock right; -1 and errno when it cannot be asked.
static inline int clinux_clock_state(void) {
  struct timex state = {0};
  return adjtimex(&state);
}
// The name of a device's driver, into 32 bytes.
static inline int clinux_ethtool_driver(int fd, const char *interface, char *driver) {
  struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
  struct ifreq request = {0};
  for (int i = 0; i < IFNAMSIZ - 1 && interface[i]; i++) request.ifr_name[i] = interface[i];
  request.ifr_data = (char *)&info;
  int result = ioctl(fd, SIOCETHTOOL, &request);
  for (int i = 0; i < 32; i++) driver[i] = info.driver[i];
  return result;
}
// Programs at an interface's tcx hooks (Linux 6.6), which linux/bpf.h of Debian 12 does not know: commands, attach types,
// flags and the attributes of bpf(2) as in include/uapi/linux/bpf.h.
enum {
  clinux_BPF_PROG_LOAD = 5,
  clinux_BPF_PROG_ATTACH = 8,
  clinux_BPF_PROG_DETACH = 9,
  clinux_BPF_PROG_GET_FD_BY_ID = 13,
  clinux_BPF_OBJ_GET_INFO_BY_FD = 15,
  clinux_BPF_PROG_QUERY = 16,
  clinux_BPF_PROG_TYPE_SCHED_CLS = 3,
  clinux_BPF_TCX_INGRESS = 46,
  clinux_BPF_TCX_EGRESS = 47,
  clinux_BPF_F_REPLACE = 1 << 2,
  clinux_BPF_F_BEFORE = 1 << 3,
  clinux_BPF_F_AFTER = 1 << 4,
  clinux_BPF_F_ID = 1 << 5,
};
// BPF_PROG_ATTACH and BPF_PROG_DETACH.
struct clinux_bpf_attachment {
  uint32_t interface;
  int32_t program;
  uint32_t type;
  uint32_t flags;
  int32_t replaced;
  // A descriptor, or with BPF_F_ID a program's id.
  uint32_t relative;
  // 0: any.
  uint64_t expected_revision;
};
struct clinux_bpf_attached {
  uint32_t interface;
  uint32_t type;
  uint32_t query_flags;
  uint32_t attach_flags;
  uint64_t ids;
  uint32_t count;
  uint32_t zero;
  uint64_t not_asked_for[3];
  uint64_t revision;
};
struct clinux_bpf_load {
  uint32_t type;
  uint32_t instruction_count;
  uint64_t instructions;
  uint64_t license;
  uint32_t log_level, log_size;
  uint64_t log;
  uint32_t kernel_version, flags;
  char name[16];
};
struct clinux_bpf_by_id {
  uint32_t id, next, flags;
};
struct clinux_bpf_ask {
  int32_t program;
  uint32_t length;
  uint64_t answer;
};
// The beginning of struct bpf_prog_info.
struct clinux_bpf_program {
  uint64_t before[8];
  char name[16];
};
static inline int clinux_bpf(int command, void *attributes, unsigned int size) {
  return (int)syscall(SYS_bpf, command, attributes, size);
}
