// SPDX-License-Identifier: GPL-2.0-only
// qemu.hpp - what a guest of the svm bed must not do, because QEMU, 7.2 as 10.0, dies of it, or L1
// does. Elsewhere nothing here has an effect. The vmx bed's fuzzers do all of it.
#pragma once
#include <cstddef>
#include "hwv.h"

namespace fuzz {

bool on_qemu();

// QEMU aborts when an exception's delivery, of which it holds its big lock, touches what a data
// breakpoint watches: cpu_check_watchpoint() takes the lock once more. Its guests get no way to
// enable one: MOV to a debug register becomes MOV from it.
void take_breakpoints(char *code, std::size_t bytes);

// #VMEXIT puts the host's CR0 back while CR4 and EFER are still the guest's, and QEMU's
// cpu_x86_update_cr0() silently refuses a CR0.PG that does not fit these. The host of a guest with
// EFER.LME set, CR4.PAE and CR0.PG clear goes on without paging and with GIF clear: it executes
// what is not memory for ever, and neither interrupt nor NMI reaches that CPU any more.
//
// A guest without long mode cannot get there. Before the vCPU's first HWV_RUN.
void take_long_mode(int vcpu);
// Nor can one that has LME and PG set together or not at all, and changes neither: the observer's
// rules see to it, on QEMU and elsewhere.
void keep_long_mode(int observer);
void fit_long_mode(hwv_regs &regs);

} // namespace fuzz
