// SPDX-License-Identifier: GPL-2.0-only
// injection.cpp - events that the user puts in, and what holds them back; register states that must
// be refused.
#include <cerrno>
#include <cstring>
#include "conformance/matrix_rows.hpp"

namespace conformance {
namespace {

constexpr std::uint64_t if_ = 1u << 9;

GUEST(nops, "nop\nnop")
GUEST(cli_sti, "nop\nsti\nnop\nnop")

Case start(const char *reason, const Text &text, Mode mode, const char *outcome) {
    Case c{.name = std::string{reason} + "/" + name(mode) + "/" + outcome, .mode = mode};
    c.code = text.bytes(bits(mode));
    c.code.push_back(0xf4);
    c.fresh = true;
    return c;
}

Expect at(int vector, std::uint64_t rip, std::optional<std::uint32_t> error = {}) {
    Expect e = fault(vector, error);
    e.rip = rip;
    return e;
}

void event(hwv_regs &r, hwv_event_type type, unsigned vector, bool has_error = false,
           unsigned error = 0) {
    r.event.type = static_cast<std::uint8_t>(type);
    r.event.vector = static_cast<std::uint8_t>(vector);
    r.event.has_error_code = has_error;
    r.event.error_code = error;
}

template <typename Make>
void in_modes(Modes modes, Make make) {
    for (unsigned n = 0; n < mode_count; ++n)
        if (in(modes, static_cast<Mode>(n))) make(static_cast<Mode>(n));
}

// External interrupts by HWV_INTERRUPT: at once with IF, else after STI and one more instruction.
const Topic external{"injection/external", [] {
                         in_modes(all_modes, [](Mode m) {
                             Case c = start("EXTINT", nops, m, "if");
                             c.expect = at(0x55, 0);
                             c.prepare = [](hwv_regs &r, auto) { r.rflags |= if_; };
                             c.before = [](TestVm &vm) { (void)vm.inject(0x55); };
                             if (on_bochs_svm()) c.kvm_differs = bochs::no_window;
                             add(c);
                             if (in(user_modes, m)) return;
                             c = start("EXTINT", cli_sti, m, "if0");
                             c.expect = at(0x55, 3);
                             c.before = [](TestVm &vm) { (void)vm.inject(0x55); };
                             c.attempts = 5;
                             add(c);
                             c = start("EXTINT", nops, m, "shadow");
                             c.expect = at(0x55, 1);
                             c.prepare = [](hwv_regs &r, auto) {
                                 r.rflags |= if_;
                                 r.event.shadow = HWV_SHADOW_MOV_SS;
                             };
                             c.before = [](TestVm &vm) { (void)vm.inject(0x55); };
                             c.unjudged = "QEMU 7.2 ignores the interrupt shadow at VMRUN";
                             c.unjudged_bochs_svm = bochs::no_window;
                             add(c);
                         });
                     }};

const Topic nmi{"injection/nmi", [] {
                    in_modes(all_modes, [](Mode m) {
                        Case c = start("NMI", nops, m, "open");
                        c.expect = at(2, 0);
                        c.before = [](TestVm &vm) { vm.nmi(); };
                        c.expect.more = [](const Result &r) {
                            return r.end.event.nmi_blocked ? ""
                                                           : "NMIs are not blocked in the handler";
                        };
                        add(c);
                        c = start("NMI", nops, m, "blocked");
                        c.prepare = [](hwv_regs &r, auto) { r.event.nmi_blocked = 1; };
                        c.before = [](TestVm &vm) { vm.nmi(); };
                        add(c);
                        c = start("NMI", nops, m, "first"); // before an interrupt that waits, too
                        c.expect = at(2, 0);
                        c.prepare = [](hwv_regs &r, auto) { r.rflags |= if_; };
                        c.before = [](TestVm &vm) {
                            (void)vm.inject(0x55);
                            vm.nmi();
                        };
                        add(c);
                    });
                }};

// Events of the group HWV_REGS_EVENT: delivered at the next entry.
const Topic queued{
    "injection/queued", [] {
        in_modes(all_modes, [](Mode m) {
            const auto queue = [&](const char *outcome, Expect e, hwv_event_type type,
                                   unsigned vector, bool has, unsigned error) {
                if (m == Mode::real && has) return; // no error codes there
                Case c = start("QUEUED", nops, m, outcome);
                c.expect = std::move(e);
                c.prepare = [=](hwv_regs &r, auto) {
                    if (type == HWV_EVENT_INTERRUPT) r.rflags |= if_;
                    event(r, type, vector, has, error);
                };
                add(c);
            };
            queue("interrupt", at(0x99, 0), HWV_EVENT_INTERRUPT, 0x99, false, 0);
            queue("nmi", at(2, 0), HWV_EVENT_NMI, 2, false, 0);
            queue("exception", at(6, 0), HWV_EVENT_EXCEPTION, 6, false, 0);
            queue("error_code", at(13, 0, 0x1234), HWV_EVENT_EXCEPTION, 13, true, 0x1234);
            queue("page_fault", at(14, 0, 2), HWV_EVENT_EXCEPTION, 14, true, 2);
        });
    }};

// ---- what must be refused, and change nothing ----

struct Bad {
    const char *name;
    std::uint32_t group;
    void (*spoil)(hwv_regs &);
};

constexpr Bad refused[] = {
    {"rflags-fixed", HWV_REGS_GPR, [](hwv_regs &r) { r.rflags = 0; }},
    {"rflags-reserved", HWV_REGS_GPR, [](hwv_regs &r) { r.rflags |= 1ull << 32; }},
    {"cr0-pg-without-pe", HWV_REGS_CONTROL, [](hwv_regs &r) { r.cr0 &= ~1ull; }},
    {"cr0-nw-without-cd", HWV_REGS_CONTROL, [](hwv_regs &r) { r.cr0 |= 1u << 29; }},
    {"cr0-high", HWV_REGS_CONTROL, [](hwv_regs &r) { r.cr0 |= 1ull << 32; }},
    {"cr3-high", HWV_REGS_CONTROL, [](hwv_regs &r) { r.cr3 |= 1ull << 52; }},
    {"cr4-reserved", HWV_REGS_CONTROL, [](hwv_regs &r) { r.cr4 |= 1ull << 31; }},
    {"cr4-vmxe", HWV_REGS_CONTROL, [](hwv_regs &r) { r.cr4 |= 1u << 13; }},
    {"long-mode-without-pae", HWV_REGS_CONTROL, [](hwv_regs &r) { r.cr4 &= ~0x20ull; }},
    {"cr8", HWV_REGS_CONTROL, [](hwv_regs &r) { r.cr8 = 16; }},
    {"efer-reserved", HWV_REGS_CONTROL, [](hwv_regs &r) { r.efer |= 1u << 1; }},
    {"efer-svme", HWV_REGS_CONTROL, [](hwv_regs &r) { r.efer |= 1u << 12; }},
    {"efer-lma-alone", HWV_REGS_CONTROL, [](hwv_regs &r) { r.efer &= ~0x100ull; }},
    {"xcr0-without-x87", HWV_REGS_CONTROL, [](hwv_regs &r) { r.xcr0 = 2; }},
    {"xcr0-avx-without-sse", HWV_REGS_CONTROL, [](hwv_regs &r) { r.xcr0 = 5; }},
    {"segment-base", HWV_REGS_SEGMENT, [](hwv_regs &r) { r.segment[HWV_FS].base = 1ull << 47; }},
    {"gdtr-limit", HWV_REGS_SEGMENT, [](hwv_regs &r) { r.gdtr.limit = 0x10000; }},
    {"idtr-base", HWV_REGS_SEGMENT, [](hwv_regs &r) { r.idtr.base = 1ull << 47; }},
    {"dr6-high", HWV_REGS_DEBUG, [](hwv_regs &r) { r.dr6 |= 1ull << 32; }},
    {"dr7-high", HWV_REGS_DEBUG, [](hwv_regs &r) { r.dr7 |= 1ull << 32; }},
    {"event-type", HWV_REGS_EVENT, [](hwv_regs &r) { r.event.type = 5; }},
    {"event-vector", HWV_REGS_EVENT, [](hwv_regs &r) { event(r, HWV_EVENT_EXCEPTION, 32); }},
    {"event-nmi-as-exception", HWV_REGS_EVENT,
     [](hwv_regs &r) { event(r, HWV_EVENT_EXCEPTION, 2); }},
    {"event-length", HWV_REGS_EVENT, [](hwv_regs &r) { event(r, HWV_EVENT_SOFTWARE, 0x80); }},
    {"event-nmis", HWV_REGS_EVENT, [](hwv_regs &r) { r.event.nmi_pending = 3; }},
    {"event-shadow", HWV_REGS_EVENT, [](hwv_regs &r) { r.event.shadow = 4; }},
    {"event-mp-state", HWV_REGS_EVENT, [](hwv_regs &r) { r.event.mp_state = 4; }},
    {"event-reserved", HWV_REGS_EVENT, [](hwv_regs &r) { r.event.reserved[0] = 1; }},
};

std::string must_refuse(const Bad &bad) {
    auto vm = oracle::make_vm(oracle::Kind::hwv, {.memory = 2u << 20});
    hwv_regs r = prepare(vm->memory(), Mode::long64);
    vm->set_regs(r, HWV_REGS_ALL);
    const hwv_regs before = vm->regs();
    hwv_regs spoilt = before;
    spoilt.gpr[HWV_R12] = 0x77; // a good change beside the bad one
    bad.spoil(spoilt);
    try {
        vm->set_regs(spoilt, bad.group | HWV_REGS_GPR);
        return "accepted";
    } catch (const oracle::Failure &e) {
        if (e.code != EINVAL) return "refused with " + std::to_string(e.code);
    }
    const hwv_regs after = vm->regs();
    return std::memcmp(&before, &after, sizeof after) ? "refused, but registers changed" : "";
}

const Topic negatives{"injection/refused", [] {
                          for (const Bad &bad : refused)
                              add(std::string{"REFUSED/long64/"} + bad.name,
                                  [&bad] { return must_refuse(bad); });
                      }};

} // namespace
} // namespace conformance
