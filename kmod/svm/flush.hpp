// SPDX-License-Identifier: GPL-2.0-only
// flush.hpp - empties this CPU's TLB of all guests' translations, hwv's and KVM's.
#pragma once
#include <cstdint>
#include "core/result.hpp"
#include "host.h"

// enter.S. True: an SVM instruction faulted, the guest was not entered.
extern "C" bool hwv_svm_switch(std::uint64_t *gprs, std::uint64_t vmcb, std::uint64_t host_state,
                               std::uint32_t spec_ctrl);

namespace hwv::svm {

// Outside a guest nothing reaches all ASIDs: writes of CR3 and CR4 flush the host's own, INVLPGA
// one page of one ASID, INVLPGB is of few CPUs. APM "TLB Flush", "TLB Control": VMRUN with
// TLB_CONTROL 1 does. So here is a guest to run with it: one without any memory, whose first
// instruction cannot be fetched, so that it ends at once, by a nested page fault, and leaves no
// translation behind (a CPU caches none that is not present: APM "Translation-Lookaside Buffer
// (TLB)").
class Flusher {
  public:
    Status prepare(); // process context; idempotent
    void release();
    // Irqs off. Where SVM is off nothing happens, and nothing is lost: who switches it on cannot
    // trust the TLB.
    void flush(std::uint32_t asid, std::uint64_t host_state_pa) const;

  private:
    hwv_host_page vmcb_{};
    hwv_host_page tables_{}; // root of the nested page tables: empty
};

} // namespace hwv::svm
