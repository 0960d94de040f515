// SPDX-License-Identifier: GPL-2.0-only
// arch.hpp - AMD's instructions and MSRs. Unit tests: tests/unit/fakes/svm/arch.hpp.
#pragma once
#include "svm/msr.hpp"
#include "core/arch.hpp"

namespace hwv::svm {

// Stores what VMLOAD loads at physical address `pa`. False: SVM is off.
[[gnu::always_inline]] inline bool vmsave(std::uint64_t pa) {
    asm goto("1: vmsave %%rax\n" HWV_EXTABLE_1B_FAULT : : "a"(pa) : "memory" : fault);
    return true;
fault:
    return false;
}

// Sets the global interrupt flag, where SVM is on.
inline void stgi() {
    asm goto("1: stgi\n" HWV_EXTABLE_1B_FAULT : : : "memory" : fault);
fault:
    return;
}

} // namespace hwv::svm
