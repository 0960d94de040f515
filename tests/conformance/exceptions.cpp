// SPDX-License-Identifier: GPL-2.0-only
// exceptions.cpp - exceptions of the guest's own, those that hwv intercepts and gives back among
// them, and faults while an exception is delivered.
#include "conformance/matrix_rows.hpp"

namespace conformance {
namespace {

constexpr std::uint64_t tf = 1u << 8;

GUEST(ud2, "ud2")
GUEST(int3, "int3")
GUEST(int_n, "int $0x80")
GUEST(icebp, ".byte 0xf1")
GUEST(divide, "div %cl")
GUEST_LEGACY(into, "into")
GUEST(nop, "nop")
GUEST(page, "movb %al, %fs:0x10")

std::string dr6_is(const Result &r, std::uint64_t wanted) {
    return r.end.dr6 == wanted ? "" : "DR6 is " + hex(r.end.dr6) + ", not " + hex(wanted);
}

// Traps push the address behind the instruction. AMD APM vol. 2 "Exceptions and Interrupts", the
// table of vectors.
Expect trap(int vector, std::uint64_t length) {
    Expect e;
    e.vector = vector;
    e.rip = length;
    return e;
}

void one(const char *reason, const Text &text, Mode mode, Expect expect,
         std::function<void(hwv_regs &, std::span<std::uint8_t>)> prepare = {},
         const char *outcome = "done", std::string kvm_differs = {}, std::string unjudged = {},
         std::string unjudged_bochs_svm = {}) {
    Case c{.name = std::string{reason} + "/" + name(mode) + "/" + outcome, .mode = mode};
    c.code = text.bytes(bits(mode));
    c.code.push_back(0xf4);
    c.expect = std::move(expect);
    c.prepare = std::move(prepare);
    c.kvm_differs = std::move(kvm_differs);
    c.unjudged = std::move(unjudged);
    c.unjudged_bochs_svm = std::move(unjudged_bochs_svm);
    add(std::move(c));
}

template <typename Make>
void in_modes(Modes modes, Make make) {
    for (unsigned n = 0; n < mode_count; ++n)
        if (in(modes, static_cast<Mode>(n))) make(static_cast<Mode>(n));
}

// The CPU's own faults: QEMU leaves RF clear in their frames, KVM intercepts #UD and gives it back
// with RF set.
const Topic plain{"exceptions/plain", [] {
                      in_modes(all_modes, [](Mode m) {
                          const auto at = [](int v, std::uint64_t rip) {
                              Expect e = fault(v);
                              e.rip = rip;
                              return e;
                          };
                          one("UD", ud2, m, at(6, 0), {}, "done",
                              "QEMU's own #UD pushes no RF, the one KVM gives back does");
                          one("DE", divide, m, at(0, 0),
                              [](hwv_regs &r, auto) { r.gpr[HWV_RCX] = 0; });
                          one("BP", int3, m, trap(3, 1), [](hwv_regs &r, auto) {
                              if (r.rflags >> 17 & 1) r.rflags |= 3u << 12;
                          });
                          one("INTN", int_n, m, trap(0x80, 2), [](hwv_regs &r, auto) {
                              if (r.rflags >> 17 & 1) r.rflags |= 3u << 12;
                          });
                          if (bits(m) != 64)
                              one("OF", into, m, trap(4, 1), [](hwv_regs &r, auto) {
                                  r.rflags |= 1u << 11 | (r.rflags >> 17 & 1 ? 3u << 12 : 0);
                              });
                      });
                  }};

// #DB is intercepted and given back as it was.
const Topic debug{"exceptions/debug", [] {
                      in_modes(all_modes, [](Mode m) {
                          Expect step = trap(1, 1);
                          step.more = [](const Result &r) { return dr6_is(r, 0xffff4ff0); };
                          one(
                              "DB", nop, m, step, [](hwv_regs &r, auto) { r.rflags |= tf; }, "step",
                              "", "", bochs::no_dr6);
                          Expect hit = trap(1, 0);
                          hit.more = [](const Result &r) { return dr6_is(r, 0xffff0ff1); };
                          one(
                              "DB", nop, m, hit,
                              [](hwv_regs &r, auto) {
                                  r.dr[0] = at_code;
                                  r.dr7 = 0x401;
                              },
                              "breakpoint", "QEMU's own #DB of a breakpoint pushes no RF",
                              "QEMU 7.2 does not arm the breakpoints that VMRUN loads",
                              bochs::no_dr6);
                          Expect data = trap(1, page.bytes(bits(m)).size());
                          data.more = [](const Result &r) { return dr6_is(r, 0xffff0ff2); };
                          one(
                              "DB", page, m, data,
                              [](hwv_regs &r, auto) {
                                  r.segment[HWV_FS].base = at_data;
                                  r.segment[HWV_FS].selector = at_data >> 4; // as V86 mode wants it
                                  r.dr[1] = at_data + 0x10;
                                  r.dr7 = 0x400 | 4 | 1u << 20;
                              },
                              "write", "", "QEMU 7.2 does not arm the breakpoints that VMRUN loads",
                              bochs::no_dr6);
                      });
                  }};

// #PF with its address. AMD APM vol. 2 "#PF". #AC is not judged: QEMU has no alignment checks.
const Topic memory{"exceptions/memory", [] {
                       in_modes(paged_modes, [](Mode m) {
                           Expect e = fault(14, in(user_modes, m) ? 6 : 2);
                           e.rip = 0;
                           e.more = [](const Result &r) {
                               return r.end.cr2 == 0x600010 ? "" : "CR2 is " + hex(r.end.cr2);
                           };
                           e.writes_from = 0x4000;
                           one(
                               "PF", page, m, e,
                               [](hwv_regs &r, std::span<std::uint8_t> memory) {
                                   store(memory, 0x4000 + 8 * 3, 0,
                                         8); // the page at 6 MiB is absent
                                   r.segment[HWV_FS].base = 0x600000;
                               },
                               "absent");
                       });
                   }};

// A segment that is not there while #DE or the like is delivered: #DF; that too: shutdown. AMD APM
// vol. 2 "#DF".
const Topic combined{
    "exceptions/combined", [] {
        in_modes(kernel_modes & ~only(Mode::real), [](Mode m) {
            const auto spoil = [m](std::span<std::uint8_t> memory, unsigned vector) {
                store(memory, at_idt + vector * (in(long_modes, m) ? 16u : 8u) + 5, 0x0e,
                      1); // P=0: #NP
            };
            Expect df = fault(8, 0);
            one(
                "DF", divide, m, df,
                [spoil](hwv_regs &r, std::span<std::uint8_t> memory) {
                    r.gpr[HWV_RCX] = 0;
                    spoil(memory, 0);
                    spoil(memory, 11);
                },
                "contributory");
            // EXT: for AMD an exception comes from inside the program, for Intel from outside. APM
            // vol. 2 "Selector-Error-Code", SDM vol. 3 "Error Code".
            Expect np = fault(11, 6 << 3 | 2 | on_intel());
            one(
                "NP", ud2, m, np,
                [spoil](hwv_regs &, std::span<std::uint8_t> memory) { spoil(memory, 6); }, "benign",
                "QEMU pushes no RF, what KVM gives back has it",
                in(long_modes, m) ? "QEMU 7.2 pushes the vector times 16" : "",
                "Bochs sets EXT as Intel does");
            one(
                "SHUTDOWN", divide, m, fault(shut_down),
                [spoil](hwv_regs &r, std::span<std::uint8_t> memory) {
                    r.gpr[HWV_RCX] = 0;
                    for (unsigned v : {0u, 8u, 11u})
                        spoil(memory, v);
                },
                "triple", "KVM tells of a shutdown after INIT, its registers are reset");
        });
    }};

} // namespace
} // namespace conformance
