// SPDX-License-Identifier: GPL-2.0-only
// exits_access.cpp - port I/O, MSRs and device memory.
#include "conformance/matrix_rows.hpp"

namespace conformance {
namespace {

constexpr std::uint64_t junk = 0xdeadbeef'00000000, port = 0x1234, device = 0x300000;

// ---- port I/O ----

GUEST(out_b, "outb %al, %dx")
GUEST(out_w, "outw %ax, %dx")
GUEST(out_l, "outl %eax, %dx")
GUEST(out_i, "outb %al, $0x80")
GUEST(in_b, "inb %dx, %al")
GUEST(in_w, "inw %dx, %ax")
GUEST(in_l, "inl %dx, %eax")
GUEST(in_i, "inb $0x81, %al")

Expect io(unsigned size, bool write, std::uint64_t at, std::uint64_t data) {
    Expect e;
    e.accesses = {{Access::io, at, size, write, data}};
    return e;
}

// AMD APM vol. 3 "IN": 8 and 16 bits leave the rest of RAX, 32 bits clear its upper half.
Expect input(unsigned size, std::uint64_t at) {
    constexpr std::uint64_t before = junk | 0x11223344, data = 0xa1b2c3d4;
    const std::uint64_t mask = (1ull << 8 * size) - 1;
    Expect e = io(size, false, at, data & mask);
    e.gprs = {{HWV_RAX, size == 4 ? data : (before & ~mask) | (data & mask)}};
    return e;
}

void io_row(const char *reason, const Text &text, Expect e) {
    generate({.reason = reason,
              .text = &text,
              .in = {{HWV_RAX, junk | 0x11223344}, {HWV_RDX, junk | port}},
              .expect = [e](Mode) { return e; },
              .privileged = false,
              .kvm_differs_step = "KVM leaves RF set behind IN and OUT"});
}

const Topic ports{"exits/ports", [] {
                      io_row("OUT8", out_b, io(1, true, port, 0x44));
                      io_row("OUT16", out_w, io(2, true, port, 0x3344));
                      io_row("OUT32", out_l, io(4, true, port, 0x11223344));
                      io_row("OUTI", out_i, io(1, true, 0x80, 0x44));
                      io_row("IN8", in_b, input(1, port));
                      io_row("IN16", in_w, input(2, port));
                      io_row("IN32", in_l, input(4, port));
                      io_row("INI", in_i, input(1, 0x81));
                  }};

// ---- MSRs ----

GUEST(rdmsr, "rdmsr")
GUEST(wrmsr, "wrmsr")

constexpr std::uint64_t pat = 0x277, fs_base = 0xc0000100, lstar = 0xc0000082, tsc_aux = 0xc0000103,
                        apic_base = 0x1b;

constexpr Modes few =
    only(Mode::real) | only(Mode::v86) | only(Mode::pae) | only(Mode::long64) | only(Mode::user64);

void read_row(const char *reason, std::uint64_t index, std::uint64_t value, Modes modes) {
    Expect e;
    e.gprs = {{HWV_RAX, value & 0xffffffff}, {HWV_RDX, value >> 32}};
    generate({.reason = reason,
              .text = &rdmsr,
              // no junk above ECX: QEMU 7.2 looks into its MSR bitmap by all of RCX
              .in = {{HWV_RAX, junk}, {HWV_RCX, index}, {HWV_RDX, junk}},
              .expect = [e](Mode) { return e; },
              .modes = modes});
}

void write_row(const char *reason, std::uint64_t index, std::uint64_t value, bool allowed,
               std::string kvm_differs = {}) {
    generate({.reason = reason,
              .text = &wrmsr,
              .in = {{HWV_RAX, value & 0xffffffff}, {HWV_RCX, index}, {HWV_RDX, value >> 32}},
              .expect = [allowed](Mode) { return allowed ? Expect{} : gp0(); },
              .modes = few,
              .fresh = allowed,
              .kvm_differs = std::move(kvm_differs)});
}

const Topic msrs{"exits/msrs", [] {
                     read_row("RDMSR", pat, 0x0007040600070406, all_modes);
                     read_row("RDMSR-LSTAR", lstar, 0, few);
                     generate({.reason = "RDMSR-BAD",
                               .text = &rdmsr,
                               .in = {{HWV_RCX, 0x12345678}},
                               .expect = [](Mode) { return gp0(); }});
                     write_row("WRMSR", pat, 0x0007040600070401, true);
                     // AMD APM vol. 2 "PAT Register": types 2 and 3 are reserved.
                     write_row("WRMSR-PAT-BAD", pat, 0x0007040600070402, false);
                     write_row("WRMSR-BAD", 0x12345678, 0, false);
                 }};

// A non-canonical address in the MSRs that hold one. AMD APM vol. 2 "SYSCALL and SYSRET MSRs".
const Topic canonical{"exits/msrs_canonical", [] {
                          write_row("WRMSR-TSC_AUX", tsc_aux, 0x1234, true);
                          write_row(
                              "WRMSR-TSC_AUX-BAD", tsc_aux, 1ull << 32, false,
                              "the manual reserves bits 63:32; AMD's CPUs, and KVM, drop them");
                          write_row("WRMSR-APIC_BASE-BAD", apic_base, ~0ull, false);
                      }};

// LME by itself, before CR4.PAE: nothing but what it says. AMD APM vol. 2 "Activating Long Mode".
std::string has_lme(const Result &r) {
    constexpr std::uint64_t lme = 1u << 8, lma = 1u << 10;
    return (r.end.efer & (lme | lma)) == lme ? "" : "EFER is " + hex(r.end.efer);
}

const Topic long_mode{
    "exits/msrs_long_mode", [] {
        generate({.reason = "WRMSR-EFER-LME",
                  .text = &wrmsr,
                  .in = {{HWV_RAX, 0x100}, {HWV_RCX, 0xc0000080}, {HWV_RDX, 0}},
                  .expect = [](Mode) { return Expect{.more = has_lme}; },
                  .modes = only(Mode::real),
                  .fresh = true,
                  .unjudged = "QEMU loses the host of a guest with LME alone: scripts/bedlib"});
    }};

// ---- device memory: beyond the slot, by FS ----

GUEST(store_b, "movb %al, %fs:0x10")
GUEST(store_w, "movw %cx, %fs:0x10")
GUEST(store_l, "movl %ecx, %fs:0x10")
GUEST(store_i, "movl $0x89abcdef, %fs:0x10")
GUEST(store_h, "movb %ch, %fs:0x10")
GUEST64(store_q, "movq %rcx, %fs:0x10")
GUEST64(store_qi, "movq $-2, %fs:0x10")
GUEST(load_b, "movb %fs:0x10, %cl")
GUEST(load_h, "movb %fs:0x10, %ch")
GUEST(load_w, "movw %fs:0x10, %cx")
GUEST(load_l, "movl %fs:0x10, %ecx")
GUEST64(load_q, "movq %fs:0x10, %rcx")
GUEST64(load_r9, "movl %fs:0x10, %r9d")
GUEST(load_zx, "movzbl %fs:0x10, %ecx")
GUEST(load_sx, "movsbl %fs:0x10, %ecx")
GUEST(load_sxw, "movswl %fs:0x10, %ecx")
GUEST64(load_sxq, "movsbq %fs:0x10, %rcx")

constexpr std::uint64_t rcx = 0x1122334455667788;

// VM entry wants a base in virtual-8086 mode to be sixteen times the selector, which does not reach
// the device: SDM vol. 3 "Checks on Guest Segment Registers".
void device_row(const char *reason, const Text &text, Expect e) {
    generate({.reason = reason,
              .text = &text,
              .in = {{HWV_RAX, junk | 0x42}, {HWV_RCX, rcx}, {HWV_R9, ~0ull}},
              .expect = [e](Mode) { return e; },
              .modes = on_intel() ? all_modes & ~only(Mode::v86) : all_modes,
              .privileged = false,
              .prefixable = false,
              .kvm_differs_step = e.accesses[0].write ? "KVM forgets the trap after a write" : "",
              .prepare = [](hwv_regs &r, Mode) { r.segment[HWV_FS].base = device; }});
}

Expect mmio(unsigned size, bool write, std::uint64_t data) {
    Expect e;
    e.accesses = {{Access::mmio, device + 0x10, size, write, data}};
    return e;
}

Expect mmio_load(unsigned size, std::uint64_t data, std::uint64_t after, unsigned gpr = HWV_RCX) {
    Expect e = mmio(size, false, data);
    e.gprs = {{gpr, after}};
    return e;
}

const Topic devices{
    "exits/devices", [] {
        device_row("MMIO-W8", store_b, mmio(1, true, 0x42));
        device_row("MMIO-W8H", store_h, mmio(1, true, 0x77));
        device_row("MMIO-W16", store_w, mmio(2, true, 0x7788));
        device_row("MMIO-W32", store_l, mmio(4, true, 0x55667788));
        device_row("MMIO-W64", store_q, mmio(8, true, rcx));
        device_row("MMIO-WI32", store_i, mmio(4, true, 0x89abcdef));
        device_row("MMIO-WI64", store_qi, mmio(8, true, ~1ull));
        device_row("MMIO-R8", load_b, mmio_load(1, 0xfe, (rcx & ~0xffull) | 0xfe));
        device_row("MMIO-R8H", load_h, mmio_load(1, 0xfe, (rcx & ~0xff00ull) | 0xfe00));
        device_row("MMIO-R16", load_w, mmio_load(2, 0xfedc, (rcx & ~0xffffull) | 0xfedc));
        device_row("MMIO-R32", load_l, mmio_load(4, 0xfedcba98, 0xfedcba98));
        device_row("MMIO-R64", load_q, mmio_load(8, ~2ull, ~2ull));
        device_row("MMIO-R9D", load_r9, mmio_load(4, 0x87654321, 0x87654321, HWV_R9));
        device_row("MMIO-ZX8", load_zx, mmio_load(1, 0xfe, 0xfe));
        device_row("MMIO-SX8", load_sx, mmio_load(1, 0xfe, 0xfffffffe));
        device_row("MMIO-SX16", load_sxw, mmio_load(2, 0xfedc, 0xfffffedc));
        device_row("MMIO-SX64", load_sxq, mmio_load(1, 0xfe, ~1ull));
    }};

} // namespace
} // namespace conformance
