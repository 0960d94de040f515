// SPDX-License-Identifier: GPL-2.0-only
// matrix_rows.hpp - one instruction in every mode and with every outcome: Row is the instruction
// and the manual's answer, generate() makes the cases.
#pragma once
#include "conformance/framework.hpp"

namespace conformance {

struct Row {
    const char *reason;
    const Text *text;                                   // the instruction alone
    std::vector<std::pair<unsigned, std::uint64_t>> in; // GPRs before
    std::function<Expect(Mode)> expect;                 // after it; default: nothing changes
    Modes modes = all_modes;
    bool privileged = true; // #GP(0) in user modes and V86
    bool prefixable = true; // segment prefixes change nothing
    bool boundaries = true; // its end is seen by TF and by interrupts
    bool sti = true;
    bool fresh = false;
    std::uint32_t unequal_gprs = 0;
    std::string kvm_differs, unjudged, unjudged_bochs_svm;
    std::string kvm_differs_step; // with TF alone
    Modes kvm_differs_in = all_modes, unjudged_in = all_modes;
    std::function<void(hwv_regs &, Mode)> prepare;
};

// done: it completes or faults. step: with TF and RF set. prefix: with redundant prefixes. cross:
// over a page boundary. sti: in the shadow of STI, an interrupt waiting.
void generate(const Row &row);

Expect fault(int vector, std::optional<std::uint32_t> error = {});
inline Expect gp0() { return fault(13, 0); }
inline Expect ud() { return fault(6); }

} // namespace conformance
