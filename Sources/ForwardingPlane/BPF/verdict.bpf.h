// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// The one way to end with a packet at tc.
#pragma once

// TC_ACT_UNSPEC rather than TC_ACT_OK: programs of others at this hook still see the packet. CONSUMED is a packet that was
// taken, not one that was lost. TC_ACT_STOLEN would say so, but tcx takes that for TC_ACT_UNSPEC (`tcx_action_code`) and
// would pass the packet on.
enum { PASS = TC_ACT_UNSPEC, DROP = TC_ACT_SHOT, CONSUMED = TC_ACT_SHOT };

static __always_inline int finish(enum handoff_outcome outcome, int verdict) {
  count(outcome);
  return verdict;
}
