// SPDX-License-Identifier: GPL-2.0-only
// x2apic.cpp - the local APIC in x2APIC mode: Intel SDM volume 3, "Extended XAPIC (x2APIC)". Where
// VMX virtualizes it the CPU itself answers most of what is asked here, and delivers.
#include "conformance/apic_case.hpp"
#include "conformance/machine.hpp"

namespace conformance {
namespace {

#define X2APIC "mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n"
#define WRITE(index, value)                                                                        \
    "mov $" #index ", %ecx\n mov $" #value ", %eax\n xor %edx, %edx\n wrmsr\n"
#define READ(index, word) "mov $" #index ", %ecx\n rdmsr\n mov %eax, " #word "(%rsi)\n"
#define EOI_MSR "mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n"

#define ON X2APIC WRITE(0x80f, 0x1ff)
#define SELF_MSR(vector) WRITE(0x83f, vector)

GUEST64(x2_registers, X2APIC WRITE(0x80f, 0x1ff) READ(0x802, 0) READ(0x80d, 4) READ(0x80f, 8)
                          WRITE(0x808, 0x51) READ(0x808, 12) READ(0x1b, 16) WRITE(0x808, 0))
GUEST64(x2_self, X2APIC WRITE(0x80f, 0x1ff) WRITE(0x83f, 0x41) WRITE(0x83f, 0x62)
                     WINDOW READ(0x813, 0) EOI_MSR WINDOW EOI_MSR READ(0x812, 4))
GUEST64(x2_icr, X2APIC WRITE(0x80f, 0x1ff) WRITE(0x830, 0x4045) WINDOW EOI_MSR)
// The way back to xAPIC mode is through the disabled state only.
GUEST64(x2_back, X2APIC "and $~0x400, %eax\n wrmsr")
GUEST64(x2_eoi, X2APIC WRITE(0x80b, 1))
GUEST64(x2_tpr, X2APIC WRITE(0x808, 0x100))
GUEST64(x2_id, X2APIC WRITE(0x802, 0))
GUEST64(x2_dfr, X2APIC "mov $0x80e, %ecx\n rdmsr")
GUEST64(x2_self_high, X2APIC WRITE(0x83f, 0x141))
GUEST64(x2_self_read, X2APIC "mov $0x83f, %ecx\n rdmsr")
GUEST64(x2_svr, X2APIC WRITE(0x80f, 0x80001ff))
GUEST64(x2_off, "mov $0x802, %ecx\n rdmsr")
// Extended without enabled.
GUEST64(x2_alone, "mov $0x1b, %ecx\n rdmsr\n and $~0x800, %eax\n or $0x400, %eax\n wrmsr")

struct Fault {
    const char *name;
    const Text &text;
    bool lax = false; // KVM lets it pass
};

const Topic x2apic{"apic/x2apic", [] {
                       add_test({.name = "x2apic-registers",
                                 .text = x2_registers,
                                 .words = {0, 1, 0x1ff, 0x51, 0xfee00d00},
                                 .kvm_differs = "KVM loses TPR's sub-class at an entry"});
                       add_test({.name = "x2apic-self-ipi",
                                 .text = x2_self,
                                 .log = {0x62, 0x41},
                                 .words = {4, 0},
                                 .eoi = false});
                       add_test(
                           {.name = "x2apic-icr", .text = x2_icr, .log = {0x45}, .eoi = false});
                       const Fault faults[] = {{"x2apic-not-back-at-once", x2_back},
                                               {"x2apic-eoi-not-zero", x2_eoi, true},
                                               {"x2apic-tpr-reserved", x2_tpr, true},
                                               {"x2apic-id-read-only", x2_id},
                                               {"x2apic-no-dfr", x2_dfr},
                                               {"x2apic-self-reserved", x2_self_high},
                                               {"x2apic-self-write-only", x2_self_read},
                                               {"x2apic-svr-reserved", x2_svr, true},
                                               {"x2apic-msrs-when-off", x2_off},
                                               {"x2apic-without-enable", x2_alone}};
                       for (const Fault &f : faults)
                           add_test({.name = f.name,
                                     .text = f.text,
                                     .log = {13},
                                     .kvm_differs = f.lax ? "KVM ignores reserved bits here" : ""});
                   }};

// ---- what is delivered, and when ----

GUEST64(x2_waits, ON SELF_MSR(0x41) READ(0x822, 0) WINDOW READ(0x822, 4) READ(0x812, 8) EOI_MSR)
GUEST64(x2_hlt, ON SELF_MSR(0x41) "sti\nhlt\ncli\n" EOI_MSR)
GUEST64(x2_msi_hlt, ON ASK "sti\nhlt\ncli\n" EOI_MSR READ(0x812, 0))
GUEST64(x2_held, ON WRITE(0x808, 0x50) SELF_MSR(0x41) SELF_MSR(0x62) WINDOW READ(0x822, 0)
                     EOI_MSR WRITE(0x808, 0) WINDOW READ(0x812, 4) EOI_MSR READ(0x812, 8))
GUEST64(x2_cr8, ON "mov $5, %eax\n mov %rax, %cr8\n" SELF_MSR(0x41) WINDOW READ(0x808, 0)
                    READ(0x80a, 4) "xor %eax, %eax\n mov %rax, %cr8\n" WINDOW EOI_MSR)
GUEST64(x2_nested, ON SELF_MSR(0x52) WINDOW ASK SELF_MSR(0x5e) WINDOW READ(0x80a, 0)
                       EOI_MSR READ(0x80a, 4) WINDOW EOI_MSR WINDOW READ(0x812, 8))
GUEST64(x2_extint, ON WRITE(0x835, 0x700) SELF_MSR(0x41) ASK WINDOW WINDOW EOI_MSR)
GUEST64(x2_nmi, ON SELF_MSR(0x41) WRITE(0x830, 0x40400) "nop\n" WINDOW EOI_MSR)
GUEST64(x2_back_read,
        ON WRITE(0x830, 0x4045) READ(0x830, 0) WRITE(0x835, 0x10700) READ(0x835, 4)
            WRITE(0x832, 0x40099) READ(0x832, 8) WRITE(0x83e, 0xb) READ(0x83e, 12) WINDOW EOI_MSR)
GUEST64(x2_illegal, ON SELF_MSR(0x5) WRITE(0x828, 0) READ(0x828, 0) WINDOW)
// Through the disabled state, what was requested is gone.
GUEST64(
    x2_off_on,
    ON SELF_MSR(
        0x41) "mov $0x1b, %ecx\n rdmsr\n and $~0xc00, %eax\n wrmsr\n or $0x800, %eax\n wrmsr\n" ON
        WINDOW READ(0x822, 0))

const Topic x2apic_delivery{
    "apic/x2apic-delivery", [] {
        const auto msi = [](TestVm &vm) { vm.msi(0xfee00000, 0x61); };
        add_test({.name = "x2apic-self-waits-for-if",
                  .text = x2_waits,
                  .log = {0x41},
                  .words = {2, 0, 2},
                  .eoi = false});
        add_test({.name = "x2apic-self-ends-hlt", .text = x2_hlt, .log = {0x41}, .eoi = false});
        add_test({.name = "x2apic-msi-ends-hlt",
                  .text = x2_msi_hlt,
                  .log = {0x61},
                  .words = {0},
                  .ask = msi,
                  .eoi = false});
        add_test({.name = "x2apic-tpr-holds-back",
                  .text = x2_held,
                  .log = {0x62, 0x41},
                  .words = {2, 2, 0},
                  .eoi = false});
        add_test({.name = "x2apic-cr8-holds-back",
                  .text = x2_cr8,
                  .log = {0x41},
                  .words = {0x50, 0x50},
                  .eoi = false});
        add_test({.name = "x2apic-higher-interrupts",
                  .text = x2_nested,
                  .log = {0x52, 0x61, 0x5e},
                  .words = {0x60, 0x50, 1u << 0x1e},
                  .ask = msi,
                  .eoi = false});
        add_test({.name = "x2apic-extint-first",
                  .text = x2_extint,
                  .log = {0x33, 0x41},
                  .ask = [](TestVm &vm) { (void)vm.inject(0x33); },
                  .eoi = false});
        add_test({.name = "x2apic-nmi-first", .text = x2_nmi, .log = {2, 0x41}, .eoi = false});
        add_test({.name = "x2apic-reads-back",
                  .text = x2_back_read,
                  .log = {0x45},
                  .words = {0x4045, 0x10700, 0x40099, 0xb},
                  .eoi = false,
                  .kvm_differs = "KVM has the deadline mode only for a user that asks"});
        add_test({.name = "x2apic-self-illegal",
                  .text = x2_illegal,
                  .words = {1u << 5},
                  .kvm_differs = "KVM reports no illegal vectors"});
        add_test({.name = "x2apic-off-forgets",
                  .text = x2_off_on,
                  .words = {0},
                  .kvm_differs = "KVM keeps requests of an APIC that was switched off"});
    }};

// ---- ends of interrupts that the user waits for ----

// Bochs tells no vector with an exit in the middle of a delivery that the CPU makes by itself
// (vapic.cc, VMX_Deliver_Virtual_Interrupt: no IDT-vectoring information), so that it cannot be
// delivered again: what a delivery touches is mapped before. The other cases' memory is one large
// page.
#define TOUCH                                                                                      \
    "mov 0x8450, %eax\n mov 0x1000, %eax\n mov 0x9000, %eax\n mov 0xd450, %eax\n"                  \
    "push %rax\n pop %rax\n"

GUEST64(x1_eoi, ENABLE TOUCH "out %al, $0x80\n" WINDOW "movl $0, 0xb0(%rbx)\n out %al, $0x81\nhlt")
GUEST64(x2_eoi_level, ON TOUCH "out %al, $0x80\n" WINDOW EOI_MSR "out %al, $0x81\nhlt")

std::string eoi(const Text &text, std::uint32_t data, const std::string &wanted) {
    constexpr std::uint8_t vector = 0x45;
    Machine m{HWV_VM_HLT_TO_USER};
    hwv_eoi_exits exits{};
    exits.vectors[vector / 64] = 1ull << vector % 64;
    m.vm.eoi_exits(exits);
    m.start(Mode::long64, text.bytes(64), [](hwv_regs &r, std::span<std::uint8_t> memory) {
        put_handler(memory, vector, Bytes{0x48, 0xcf}); // iretq
        r.gpr[HWV_RBX] = 0xfee00000;
    });
    std::string got;
    for (;;) {
        const hwv_exit e = m.run();
        got += std::string{" "} + hwv::exit_name(e.reason);
        if (e.reason == HWV_EXIT_IO && e.io.port == 0x80)
            (void)m.vm.msi(0xfee00000, data | vector);
        else if (e.reason == HWV_EXIT_EOI && e.eoi_vector != vector)
            return "of vector " + hex(e.eoi_vector);
        else if (e.reason != HWV_EXIT_IO && e.reason != HWV_EXIT_EOI)
            return got == wanted ? "" : "left by" + got;
    }
}

const Topic ends{
    "apic/eoi", [] {
        constexpr std::uint32_t level = 0xc000;
        add("APIC-EOI/x2apic-level", [] { return eoi(x2_eoi_level, level, " io eoi io hlt"); });
        add("APIC-EOI/x2apic-edge", [] { return eoi(x2_eoi_level, 0, " io io hlt"); });
        add("APIC-EOI/xapic-level", [] { return eoi(x1_eoi, level, " io eoi io hlt"); });
        add("APIC-EOI/xapic-edge", [] { return eoi(x1_eoi, 0, " io io hlt"); });
    }};

} // namespace
} // namespace conformance
