// SPDX-License-Identifier: GPL-2.0-only
// exits_instructions.cpp - instructions that always leave the guest and are served in the kernel.
#include "conformance/matrix_rows.hpp"

namespace conformance {
namespace {

constexpr std::uint64_t junk = 0xdeadbeef'00000000;
constexpr std::uint32_t rax = 1u << HWV_RAX, rcx = 1u << HWV_RCX, rdx = 1u << HWV_RDX,
                        rbx = 1u << HWV_RBX;

GUEST(cpuid, "cpuid")
GUEST(rdtsc, "rdtsc")
GUEST(rdtscp, "rdtscp")
GUEST(rdpmc, "rdpmc")
GUEST(pause, "pause")
GUEST(invd, "invd")
GUEST(wbinvd, "wbinvd")
GUEST(xsetbv, "xsetbv")
GUEST(invlpg, "invlpg 0xb800")
GUEST(monitor, "monitor")
GUEST(mwait, "mwait")
GUEST(rsm, "rsm")
GUEST(rdpru, ".byte 0x0f, 0x01, 0xfd")
GUEST(vmcall, "vmcall")
GUEST(vmmcall, "vmmcall")
GUEST(vmrun, ".byte 0x0f, 0x01, 0xd8")
GUEST(vmload, ".byte 0x0f, 0x01, 0xda")
GUEST(vmsave, ".byte 0x0f, 0x01, 0xdb")
GUEST(stgi, "stgi")
GUEST(clgi, "clgi")
GUEST(skinit, ".byte 0x0f, 0x01, 0xde")
GUEST(invlpga, ".byte 0x0f, 0x01, 0xdf")

// AMD APM vol. 3 "CPUID": 32-bit results, the upper halves cleared.
Expect after_cpuid(Mode mode) {
    Expect e;
    e.any_gprs = rax | rbx | rcx | rdx;
    e.more = [mode](const Result &r) -> std::string {
        if (in(modes64, mode) &&
            ((r.end.gpr[HWV_RBX] | r.end.gpr[HWV_RAX] | r.end.gpr[HWV_RCX] | r.end.gpr[HWV_RDX]) >>
             32))
            return "an upper half is not zero";
        return static_cast<std::uint32_t>(r.end.gpr[HWV_RAX]) >= 0xd
                   ? ""
                   : "the highest leaf is " + hex(r.end.gpr[HWV_RAX]);
    };
    return e;
}

Expect after_rdtsc(std::uint32_t any) {
    Expect e;
    e.any_gprs = any;
    e.more = [](const Result &r) -> std::string {
        return r.end.gpr[HWV_RAX] >> 32 || r.end.gpr[HWV_RDX] >> 32 ? "an upper half is not zero"
                                                                    : "";
    };
    return e;
}

Expect after_rdtscp(Mode) {
    Expect e = after_rdtsc(rax | rdx);
    e.gprs = {{HWV_RCX, 0}}; // TSC_AUX, as reset
    return e;
}

// Linux "KVM hypercalls": unknown numbers return -KVM_ENOSYS, callers outside ring 0 -KVM_EPERM.
Expect after_hypercall(Mode mode) {
    Expect e;
    const std::int64_t result = in(user_modes, mode) ? -1 : -1000;
    e.gprs = {{HWV_RAX, in(modes64, mode) ? static_cast<std::uint64_t>(result)
                                          : static_cast<std::uint32_t>(result)}};
    return e;
}

const Topic instructions{
    "exits/instructions", [] {
        generate({.reason = "CPUID",
                  .text = &cpuid,
                  .in = {{HWV_RAX, junk}, {HWV_RBX, junk | 1}, {HWV_RCX, junk}, {HWV_RDX, junk}},
                  .expect = after_cpuid,
                  .privileged = false,
                  .unequal_gprs = rax});
        generate({.reason = "RDTSC",
                  .text = &rdtsc,
                  .in = {{HWV_RAX, junk}, {HWV_RDX, junk}},
                  .expect = [](Mode) { return after_rdtsc(rax | rdx); },
                  .privileged = false,
                  .unequal_gprs = rax | rdx});
        generate({.reason = "RDTSCP",
                  .text = &rdtscp,
                  .in = {{HWV_RCX, junk}},
                  .expect = after_rdtscp,
                  .privileged = false,
                  .unequal_gprs = rax | rdx});
        generate({.reason = "RDPMC",
                  .text = &rdpmc,
                  .in = {{HWV_RCX, 0}},
                  .expect = [](Mode) { return gp0(); },
                  .privileged = false,
                  .kvm_differs = "KVM has the K7 counters, which hwv's CPUID does not offer"});
        // QEMU's PAUSE ends without a look at TF and the interrupt shadow.
        generate({.reason = "PAUSE",
                  .text = &pause,
                  .privileged = false,
                  .prefixable = false,
                  .boundaries = false});
        generate({.reason = "INVD", .text = &invd});
        generate({.reason = "WBINVD", .text = &wbinvd});
        generate({.reason = "INVLPG", .text = &invlpg});
        generate({.reason = "HYPERCALL",
                  .text = on_intel() ? &vmcall : &vmmcall,
                  .in = {{HWV_RAX, 0xfff}},
                  .expect = after_hypercall,
                  .privileged = false});
    }};

// Intel SDM vol. 2 "XSETBV": #UD without CR4.OSXSAVE, #GP for other registers than XCR0 and for x87
// state off. It always leaves on Intel.
void xsetbv_row(const char *reason, std::uint64_t index, std::uint64_t value, bool enabled,
                Expect (*expect)(Mode), bool privileged) {
    generate({.reason = reason,
              .text = &xsetbv,
              .in = {{HWV_RAX, value}, {HWV_RCX, index}, {HWV_RDX, 0}},
              .expect = expect,
              .privileged = privileged,
              .fresh = true,
              .unjudged = "QEMU 7.2 executes XSETBV past its intercept",
              .prepare = [enabled](hwv_regs &r, Mode) { r.cr4 |= enabled ? 1u << 18 : 0; }});
}

const Topic extended_state{"exits/xsetbv", [] {
                               const auto set = [](Mode) {
                                   Expect e;
                                   e.more = [](const Result &r) -> std::string {
                                       return r.end.xcr0 == 3 ? "" : "XCR0 is " + hex(r.end.xcr0);
                                   };
                                   return e;
                               };
                               xsetbv_row("XSETBV", 0, 3, true, set, true);
                               xsetbv_row(
                                   "XSETBV-X87-OFF", 0, 2, true, [](Mode) { return gp0(); }, false);
                               xsetbv_row(
                                   "XSETBV-XCR2", 2, 3, true, [](Mode) { return gp0(); }, false);
                               xsetbv_row(
                                   "XSETBV-DISABLED", 0, 3, false, [](Mode) { return ud(); },
                                   false);
                           }};

// Instructions that the guest's CPUID does not have: #UD, at every privilege, before any other
// check.
void undefined(const char *reason, const Text &text, std::string kvm_differs = {}) {
    generate({.reason = reason,
              .text = &text,
              .expect = [](Mode) { return ud(); },
              .privileged = false,
              .kvm_differs = std::move(kvm_differs)});
}

const Topic not_offered{
    "exits/not_offered", [] {
        undefined("MONITOR", monitor, "KVM lets MONITOR pass where CPUID does not offer it");
        undefined("MWAIT", mwait, "KVM lets MWAIT pass where CPUID does not offer it");
        undefined("RSM", rsm);
        undefined(
            "RDPRU", rdpru,
            "QEMU knows no RDPRU; its own #UD pushes no RF, the one that KVM gives back does");
        // The other vendor's hypercall.
        if (on_intel())
            undefined("VMMCALL", vmmcall, "KVM rewrites VMMCALL into VMCALL");
        else
            undefined("VMCALL", vmcall, "KVM rewrites VMCALL into VMMCALL");
    }};

// With EFER.SVME, which a guest cannot be run without on AMD, user code gets #GP(0) from the CPU;
// else it is #UD, as always on Intel. AMD APM vol. 3, "VMRUN" and its kin. Not judged: V86 mode,
// and SKINIT in user code, where QEMU has the checks in another order.
const Topic svm{
    "exits/svm", [] {
        const auto expect = [](Mode mode) {
            return in(user_modes, mode) && !on_intel() ? gp0() : ud();
        };
        const std::pair<const char *, const Text *> list[] = {
            {"VMRUN", &vmrun}, {"VMLOAD", &vmload}, {"VMSAVE", &vmsave},  {"STGI", &stgi},
            {"CLGI", &clgi},   {"SKINIT", &skinit}, {"INVLPGA", &invlpga}};
        for (const auto &[reason, text] : list)
            generate({.reason = reason,
                      .text = text,
                      .expect = expect,
                      .modes = text == &skinit ? kernel_modes : all_modes & ~only(Mode::v86),
                      .privileged = false});
    }};

} // namespace
} // namespace conformance
