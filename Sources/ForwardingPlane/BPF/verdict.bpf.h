// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// The one way to end with a packet at tc.
#pragma once

// TC_ACT_UNSPEC rather than TC_ACT_OK: filters of others at this hook still see the packet. CONSUMED is a packet that
// was taken, not one that was lost: `dropwatch` and the qdisc's drop counter do not show it.
enum { PASS = TC_ACT_UNSPEC, DROP = TC_ACT_SHOT, CONSUMED = TC_ACT_STOLEN };

static __always_inline int finish(enum handoff_outcome outcome, int verdict) {
  count(outcome);
  return verdict;
}
