// SPDX-License-Identifier: GPL-2.0-only
// apic_case.hpp - cases with a local APIC in the kernel, in 64-bit mode.
//
// A guest begins with RBX at the APIC's registers, RDI where handlers log their vectors, RSI where
// it stores what it read, RBP zero. HLT waits in the kernel: the end is an OUT.
#pragma once
#include "conformance/framework.hpp"

namespace conformance {

struct ApicTest {
    const char *name; // REASON/OUTCOME
    const Text &text;
    Bytes log = {};                        // vectors in the order of their delivery
    std::vector<std::uint32_t> words = {}; // what the guest read
    void (*ask)(TestVm &) = nullptr;       // done at the OUT to port_ask
    bool eoi = true;                       // by the handlers
    const char *kvm_differs = "";
};

void add_test(const ApicTest &t);

#define ENABLE "movl $0x1ff, 0xf0(%rbx)\n" /* SVR: enabled, spurious vector 0xff */
#define SELF(vector) "movl $0x44000+" #vector ", 0x300(%rbx)\n" /* ICR: fixed, to self */
#define ASK "xor %eax, %eax\nout %al, $0x80\n"
#define WINDOW "sti\nnop\nnop\ncli\n"

} // namespace conformance
