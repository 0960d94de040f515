// SPDX-License-Identifier: GPL-2.0-only
// exits_registers.cpp - control and debug registers.
#include "conformance/matrix_rows.hpp"

namespace conformance {
namespace {

constexpr std::uint64_t junk = 0xdeadbeef'00000000;
constexpr std::uint64_t cd = 1u << 30, nw = 1u << 29, ts = 1u << 3, pge = 1u << 7, mce = 1u << 6;

// In 64-bit code the operand is 64 bits wide whatever the prefixes say: the text has no
// operand-size word.
#define MOVE(name, bytes) GUEST(name, ".byte 0x0f, " bytes)
MOVE(from_cr0, "0x20, 0xc1")
MOVE(to_cr0, "0x22, 0xc1")
MOVE(from_cr2, "0x20, 0xd1")
MOVE(to_cr2, "0x22, 0xd1")
MOVE(from_cr3, "0x20, 0xd9")
MOVE(to_cr3, "0x22, 0xd9")
MOVE(from_cr4, "0x20, 0xe1")
MOVE(to_cr4, "0x22, 0xe1")
MOVE(clts, "0x06")
MOVE(from_dr7, "0x21, 0xf9")
MOVE(to_dr0, "0x23, 0xc1")
MOVE(to_dr7, "0x23, 0xf9")
GUEST(lmsw, "lmsw %cx")
GUEST(smsw, "smsw %ecx")
GUEST64(from_cr8, "mov %cr8, %rcx")
GUEST64(to_cr8, "mov %rcx, %cr8")

using Value = std::function<std::uint64_t(const hwv_regs &)>;

// What of `r` the value is, to be read or written.
std::string same(const char *what, std::uint64_t got, std::uint64_t wanted) {
    return got == wanted ? "" : std::string{what} + " is " + hex(got) + ", not " + hex(wanted);
}

Row reading(const char *reason, const Text &text, Value value) {
    return {
        .reason = reason, .text = &text, .in = {{HWV_RCX, junk}}, .expect = [value, reason](Mode) {
            Expect e;
            e.any_gprs = 1u << HWV_RCX;
            e.more = [value, reason](const Result &r) {
                return same(reason, r.end.gpr[HWV_RCX] & 0xffffffff, value(r.start));
            };
            return e;
        }};
}

const Topic reads{
    "registers/reads", [] {
        Row cr0 = reading("CR0-READ", from_cr0, [](const hwv_regs &r) { return r.cr0; });
        generate(cr0);
        cr0.reason = "CR0-READ-CD"; // shown, not obeyed: by exit
        cr0.prepare = [](hwv_regs &r, Mode) { r.cr0 |= cd | nw; };
        generate(cr0);
        Row cr2 = reading("CR2-READ", from_cr2, [](const hwv_regs &r) { return r.cr2; });
        cr2.unjudged_bochs_svm = "Bochs's VMRUN loads no CR2";
        cr2.prepare = [](hwv_regs &r, Mode) { r.cr2 = 0x12345678; };
        generate(cr2);
        generate(reading("CR3-READ", from_cr3, [](const hwv_regs &r) { return r.cr3; }));
        Row cr4 = reading("CR4-READ", from_cr4, [](const hwv_regs &r) { return r.cr4; });
        generate(cr4);
        cr4.reason = "CR4-READ-MCE";
        cr4.prepare = [](hwv_regs &r, Mode) { r.cr4 |= mce; };
        generate(cr4);
        Row cr8 = reading("CR8-READ", from_cr8, [](const hwv_regs &r) { return r.cr8; });
        cr8.prepare = [](hwv_regs &r, Mode) { r.cr8 = 9; };
        generate(cr8);
        Row dr7 = reading("DR7-READ", from_dr7, [](const hwv_regs &r) { return r.dr7; });
        dr7.sti = false; // as below
        generate(dr7);
        Row word = reading("SMSW", smsw, [](const hwv_regs &r) { return r.cr0; });
        word.privileged = false; // without CR4.UMIP
        generate(word);
    }};

// RCX is what `value` makes of the start; the register named by `after` holds it then. `before`:
// bits of CR0 that the guest starts with.
void writing(const char *reason, const Text &text, Value value, Value after, bool allowed = true,
             Modes modes = all_modes, bool boundaries = true, std::uint64_t before = 0) {
    Row row{.reason = reason,
            .text = &text,
            .modes = modes,
            .boundaries = boundaries,
            .kvm_differs = "QEMU marks PDPTEs as accessed, which KVM takes for a reserved bit",
            .kvm_differs_in = only(Mode::pae)};
    row.prepare = [value, before](hwv_regs &r, Mode) {
        r.cr0 |= before;
        r.gpr[HWV_RCX] = value(r);
    };
    row.expect = [value, after, allowed, reason](Mode) {
        Expect e = allowed ? Expect{} : gp0();
        e.more = [value, after, allowed, reason](const Result &r) {
            return same(reason, after(r.end), allowed ? value(r.start) : after(r.start));
        };
        return e;
    };
    row.sti =
        reason[0] != 'D'; // QEMU 7.2 forgets the shadow where DR accesses are granted and run again
    generate(row);
}

std::uint64_t cr0_of(const hwv_regs &r) { return r.cr0; }
std::uint64_t cr4_of(const hwv_regs &r) { return r.cr4; }

// AMD APM vol. 2 "CR0 Register": PG without PE, NW without CD and bits 63:32 are #GP(0).
const Topic cr0{
    "registers/cr0", [] {
        writing(
            "CR0-TS", to_cr0, [](const hwv_regs &r) { return r.cr0 ^ ts; }, cr0_of);
        writing(
            "CR0-CD", to_cr0, [](const hwv_regs &r) { return r.cr0 | cd; }, cr0_of);
        writing(
            "CR0-CD-OFF", to_cr0, [](const hwv_regs &r) { return r.cr0 & ~(cd | nw); }, cr0_of,
            true, all_modes, true, cd | nw);
        writing(
            "CR0-AM", to_cr0, [](const hwv_regs &r) { return r.cr0 ^ 1u << 18; }, cr0_of);
        writing(
            "CR0-NW", to_cr0, [](const hwv_regs &r) { return (r.cr0 & ~cd) | nw; }, cr0_of, false);
        writing(
            "CR0-PG-OFF", to_cr0, [](const hwv_regs &r) { return r.cr0 & ~(1ull << 31); }, cr0_of,
            false, modes64);
    }};

const Topic cr4{"registers/cr4", [] {
                    writing(
                        "CR4-PGE", to_cr4, [](const hwv_regs &r) { return r.cr4 ^ pge; }, cr4_of);
                    writing(
                        "CR4-MCE", to_cr4, [](const hwv_regs &r) { return r.cr4 | mce; }, cr4_of);
                    writing(
                        "CR4-TSD", to_cr4, [](const hwv_regs &r) { return r.cr4 | 4; }, cr4_of);
                    writing(
                        "CR4-RESERVED", to_cr4, [](const hwv_regs &r) { return r.cr4 | 1u << 31; },
                        cr4_of, false);
                    writing(
                        "CR4-VMXE", to_cr4, [](const hwv_regs &r) { return r.cr4 | 1u << 13; },
                        cr4_of, false);
                    writing(
                        "CR4-PAE-OFF", to_cr4, [](const hwv_regs &r) { return r.cr4 & ~0x20ull; },
                        cr4_of, false, modes64);
                }};

const Topic others{"registers/others", [] {
                       writing(
                           "CR2-WRITE", to_cr2, [](const hwv_regs &) { return 0x87654321; },
                           [](const hwv_regs &r) { return r.cr2; });
                       writing(
                           "CR3-WRITE", to_cr3, [](const hwv_regs &r) { return r.cr3; },
                           [](const hwv_regs &r) { return r.cr3; });
                       writing(
                           "CR8-WRITE", to_cr8, [](const hwv_regs &) { return 5; },
                           [](const hwv_regs &r) { return r.cr8; }, true, all_modes,
                           false); // QEMU 7.2 dies of a write of CR8 while an interrupt waits
                       writing(
                           "DR0-WRITE", to_dr0, [](const hwv_regs &) { return 0x12345678; },
                           [](const hwv_regs &r) { return r.dr[0]; });
                       writing(
                           "DR7-WRITE", to_dr7, [](const hwv_regs &) { return 0x700; },
                           [](const hwv_regs &r) { return r.dr7; });
                   }};

// AMD APM vol. 3 "LMSW": sets PE, MP, EM, TS; PE is not cleared by it.
const Topic words{"registers/words", [] {
                      writing(
                          "LMSW-TS", lmsw, [](const hwv_regs &r) { return r.cr0 | ts; }, cr0_of);
                      Row row{.reason = "CLTS", .text = &clts};
                      row.prepare = [](hwv_regs &r, Mode) { r.cr0 |= ts; };
                      row.expect = [](Mode) {
                          Expect e;
                          e.more = [](const Result &r) {
                              return same("CR0", r.end.cr0, r.start.cr0 & ~ts);
                          };
                          return e;
                      };
                      generate(row);
                  }};

} // namespace
} // namespace conformance
