// SPDX-License-Identifier: GPL-2.0-only
// apic.cpp - the local APIC in the kernel: its registers, priorities, and what it delivers (AMD64
// Architecture Programmer's Manual, volume 2, "Advanced Programmable Interrupt Controller").
#include "conformance/apic_case.hpp"

namespace conformance {
namespace {

constexpr std::uint64_t at_words = at_data + 0x40;
constexpr std::uint16_t port_stop = 0xf4, port_ask = 0x80;

// A handler: `mov byte [rdi], vector; inc rdi; mov [rbx+0xb0], ebp; iretq`; the third, the EOI, is
// left out where the guest shall write it itself.
Bytes logger(std::uint8_t vector, bool eoi) {
    Bytes code{0xc6, 0x07, vector, 0x48, 0xff, 0xc7};
    if (eoi) code.insert(code.end(), {0x89, 0xab, 0xb0, 0, 0, 0});
    code.insert(code.end(), {0x48, 0xcf});
    return code;
}

std::string check(const Result &r, const Bytes &log, const std::vector<std::uint32_t> &words) {
    std::string got, wanted;
    for (std::uint64_t i = 0; i < 0x40 && r.word(at_data + i, 1); ++i)
        got += " " + hex(r.word(at_data + i, 1));
    for (const auto vector : log)
        wanted += " " + hex(vector);
    if (got != wanted) return "delivered:" + got + ", not:" + wanted;
    for (std::size_t i = 0; i < words.size(); ++i)
        if (const auto word = r.word(at_words + 4 * i); word != words[i])
            return "word " + std::to_string(i) + " is " + hex(word) + ", not " + hex(words[i]);
    return {};
}

void prepare_apic(hwv_regs &r, std::span<std::uint8_t> memory, bool eoi) {
    for (unsigned v = 0x20; v < 0x100; ++v)
        put_handler(memory, v, logger(static_cast<std::uint8_t>(v), eoi));
    put_handler(memory, 2, logger(2, false));
    // mov byte [rdi], 13; xor eax, eax; out port_stop, al
    put_handler(memory, 13, Bytes{0xc6, 0x07, 13, 0x31, 0xc0, 0xe6, port_stop});
    r.gpr[HWV_RBX] = 0xfee00000;
    r.gpr[HWV_RDI] = at_data;
    r.gpr[HWV_RSI] = at_words;
    r.gpr[HWV_RBP] = 0;
}

} // namespace

void add_test(const ApicTest &t) {
    Case c{.name = std::string{"APIC/long64/"} + t.name, .mode = Mode::long64};
    c.code = t.text.bytes(64);
    c.code.insert(c.code.end(), {0x31, 0xc0, 0xe6, port_stop}); // xor eax, eax; out port_stop, al
    c.prepare = [eoi = t.eoi](hwv_regs &r, auto memory) { prepare_apic(r, memory, eoi); };
    c.stop_port = port_stop;
    c.options.apic = true;
    c.options.hlt_to_user = false;
    c.fresh = true;
    c.kvm_differs = t.kvm_differs;
    c.attempts = 5; // their STI has a shadow, which QEMU 7.2 forgets: see matrix_rows.cpp
    if (on_bochs_svm() && c.name.ends_with("-ends-hlt")) c.kvm_differs = bochs::no_window;
    c.expect.any_gprs = 0xffff;
    if (t.log == Bytes{13}) c.expect.vector = 13; // whose handler ends the case
    if (t.ask) {
        c.expect.accesses.push_back({Access::io, port_ask, 1, true});
        c.on_exit = [ask = t.ask](TestVm &vm, const Access &a) {
            if (a.address == port_ask) ask(vm);
        };
    }
    c.expect.accesses.push_back({Access::io, port_stop, 1, true});
    c.expect.more = [log = t.log, words = t.words](const Result &r) {
        return check(r, log, words);
    };
    add(std::move(c));
}

namespace {

// ---- registers ----

GUEST64(reg_reset, "mov 0x20(%rbx), %eax\n mov %eax, (%rsi)\n mov 0x80(%rbx), %ecx\n"
                   "mov %ecx, 4(%rsi)\n mov 0xf0(%rbx), %r9d\n mov %r9d, 8(%rsi)\n"
                   "mov 0x320(%rbx), %edx\n mov %edx, 12(%rsi)")
// Version: an APIC of the integrated kind, with five LVTs at least.
GUEST64(reg_version, "mov 0x30(%rbx), %eax\n mov %eax, %ecx\n and $0xf0, %ecx\n mov %ecx, (%rsi)\n"
                     "shr $16, %eax\n and $0xff, %eax\n cmp $4, %eax\n setae %cl\n"
                     "movzbl %cl, %ecx\n mov %ecx, 4(%rsi)")
GUEST64(reg_forms, ENABLE "mov $0x30, %eax\n mov %eax, 0x80(%rbx)\n mov 0x80(%rbx), %r12d\n"
                          "mov %r12d, (%rsi)\n movabs $0xfee00080, %rax\n mov $0x51, %r13d\n"
                          "mov %r13d, (%rax)\n mov (%rax), %edx\n mov %edx, 4(%rsi)\n"
                          "mov %cr8, %rax\n mov %eax, 8(%rsi)\n mov $7, %eax\n mov %rax, %cr8\n"
                          "mov 0x80(%rbx), %eax\n mov %eax, 12(%rsi)\n xor %eax, %eax\n"
                          "mov %rax, %cr8")
GUEST64(reg_lvt, ENABLE "movl $0xff, 0x320(%rbx)\n mov 0x320(%rbx), %eax\n mov %eax, (%rsi)\n"
                        "movl $0x10040, 0x350(%rbx)\n mov 0x350(%rbx), %eax\n mov %eax, 4(%rsi)\n"
                        "movl $0xff, 0xf0(%rbx)\n mov 0x320(%rbx), %eax\n mov %eax, 8(%rsi)")

const Topic registers{
    "apic/registers", [] {
        add_test({"registers-at-reset", reg_reset, {}, {0, 0, 0xff, 0x10000}});
        add_test({"version", reg_version, {}, {0x10, 1}});
        add_test({.name = "tpr-by-mov-forms",
                  .text = reg_forms,
                  .words = {0x30, 0x51, 5, 0x70},
                  .kvm_differs = "KVM loses TPR's sub-class at an entry"});
        add_test({"lvts-masked-when-disabled", reg_lvt, {}, {0xff, 0x10040, 0x100ff}});
    }};

// ---- priorities ----

GUEST64(self_ipi, ENABLE SELF(0x41) WINDOW)
GUEST64(self_hlt, ENABLE SELF(0x41) "sti\nhlt\ncli")
GUEST64(two, ENABLE SELF(0x41) SELF(0x62) WINDOW)
GUEST64(held, ENABLE "movl $0x50, 0x80(%rbx)\n" SELF(0x41) SELF(0x62) WINDOW
        "mov 0x220(%rbx), %eax\n mov %eax, (%rsi)\n" // IRR 0x40..0x5f
        "movl $0, 0x80(%rbx)\n" WINDOW)
// Without an EOI, the same class and those below wait; a higher one does not.
GUEST64(in_service, ENABLE SELF(0x52) WINDOW SELF(0x5e) SELF(0x41) SELF(0x61) WINDOW
        "mov 0xa0(%rbx), %eax\n mov %eax, (%rsi)\n" // PPR
        "movl $0, 0xb0(%rbx)\n mov 0xa0(%rbx), %eax\n mov %eax, 4(%rsi)\n" WINDOW
        "movl $0, 0xb0(%rbx)\n" WINDOW "mov 0x120(%rbx), %eax\n mov %eax, 8(%rsi)")
GUEST64(self_nmi, ENABLE "movl $0, 0x310(%rbx)\n movl $0x4400, 0x300(%rbx)\n nop")

const Topic priorities{"apic/priority", [] {
                           add_test({"self-ipi", self_ipi, {0x41}});
                           add_test({"self-ipi-ends-hlt", self_hlt, {0x41}});
                           add_test({"higher-class-first", two, {0x62, 0x41}});
                           add_test({"tpr-holds-back", held, {0x62, 0x41}, {2}});
                           add_test({.name = "eoi-releases-next",
                                     .text = in_service,
                                     .log = {0x52, 0x61, 0x5e},
                                     .words = {0x60, 0x50, 1u << 0x1e},
                                     .eoi = false});
                           add_test({"nmi-by-icr", self_nmi, {2}});
                       }};

// ---- messages from the user ----

constexpr std::uint64_t to_0 = 0xfee00000;
GUEST64(msi_hlt, ENABLE ASK "sti\nhlt\ncli")
GUEST64(msi_shadow, ENABLE ASK "nop\nsti\nmov %rdi, %rax\nmov %eax, (%rsi)\ncli")
GUEST64(msi_closed, ENABLE ASK "nop\nmov 0x220(%rbx), %eax\nmov %eax, (%rsi)\n" WINDOW)
GUEST64(ask_open, ENABLE ASK WINDOW)
GUEST64(lvt0_open, ENABLE "movl $0x700, 0x350(%rbx)\n" ASK "sti\nhlt\ncli")
GUEST64(lvt0_masked, ENABLE "movl $0x10700, 0x350(%rbx)\n" ASK WINDOW)

const Topic messages{
    "apic/messages", [] {
        add_test({"msi-ends-hlt", msi_hlt, {0x45}, {}, [](TestVm &vm) { vm.msi(to_0, 0x45); }});
        // STI's shadow: one more instruction, which still sees the log empty.
        add_test({"msi-after-sti-shadow", msi_shadow, {0x45}, {at_data}, [](TestVm &vm) {
                      vm.msi(to_0, 0x45);
                  }});
        add_test({"msi-waits-for-if", msi_closed, {0x45}, {1u << 5}, [](TestVm &vm) {
                      vm.msi(to_0, 0x45);
                  }});
        add_test(
            {"msi-to-nobody", ask_open, {}, {}, [](TestVm &vm) { vm.msi(to_0 | 5u << 12, 0x45); }});
        add_test({"msi-nmi", ask_open, {2}, {}, [](TestVm &vm) { vm.msi(to_0, 0x400); }});
        add_test(
            {"extint-by-lvt0", lvt0_open, {0x33}, {}, [](TestVm &vm) { (void)vm.inject(0x33); }});
        add_test(
            {"extint-masked-lvt0", lvt0_masked, {}, {}, [](TestVm &vm) { (void)vm.inject(0x33); }});
    }};

} // namespace
} // namespace conformance
