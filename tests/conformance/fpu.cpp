// SPDX-License-Identifier: GPL-2.0-only
// fpu.cpp - the guest's x87 and SSE state over exits, HWV_XSAVE, and the host thread's own state
// around HWV_RUN.
#include <algorithm>
#include <cstring>
#include <sys/syscall.h>
#include <unistd.h>
#include "conformance/machine.hpp"
#include "hwv/error.hpp"

namespace conformance {
namespace {

constexpr std::uint64_t at_saved = at_data + 0x100; // what the guest has at the end
constexpr unsigned xmm_bytes = 16;

#define EACH_XMM(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7)
#define EACH_HIGH_XMM(op) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define LOAD_XMM(n) "movups 16*" #n "(%rsi), %xmm" #n "\n"
#define STORE_XMM(n) "movups %xmm" #n ", 16*" #n "(%rdi)\n"
#define LOAD_XMM32(n) "movups 16*" #n "(%esi), %xmm" #n "\n"
#define STORE_XMM32(n) "movups %xmm" #n ", 16*" #n "(%edi)\n"

// In-kernel exits (CPUID) and exits to user (OUT) in turn.
#define EXITS                                                                                      \
    "movl $20, %ebp\n"                                                                             \
    "1: xorl %eax, %eax\ncpuid\nxorl %eax, %eax\noutb %al, $0x80\ncpuid\n"                         \
    "xorl %eax, %eax\noutb %al, $0x81\ndecl %ebp\njnz 1b\n"                                        \
    "xorl %ebx, %ebx\nxorl %ecx, %ecx\nxorl %edx, %edx\n"

GUEST64(sse64,
        EACH_XMM(LOAD_XMM) EACH_HIGH_XMM(LOAD_XMM) "ldmxcsr 0x180(%rsi)\n" EXITS EACH_XMM(STORE_XMM)
            EACH_HIGH_XMM(STORE_XMM) "stmxcsr 0x100(%rdi)\nhlt")
GUEST32(sse32, EACH_XMM(LOAD_XMM32) "ldmxcsr 0x180(%esi)\n" EXITS EACH_XMM(
                   STORE_XMM32) "stmxcsr 0x100(%edi)\nhlt")

#define LOAD_X87(n) "flds 0x184+4*" #n "(%esi)\n"
#define STORE_X87(n) "fstpt 16*" #n "(%edi)\n"
GUEST(x87, "fninit\nfldcw 0x180(%esi)\n" EACH_XMM(
               LOAD_X87) "fcom %st(1)\n" EXITS
                         "fnstsw 0x90(%edi)\nfnstcw 0x98(%edi)\n" EACH_XMM(STORE_X87) "hlt")

constexpr std::uint32_t mxcsr = 0x7f80;        // toward zero, all masked
constexpr std::uint16_t control_word = 0x0c7f; // 24 bits, toward zero

std::uint8_t pattern(unsigned i) { return static_cast<std::uint8_t>(0x35 + 7 * i); }

void put_pattern(std::span<std::uint8_t> memory) {
    for (unsigned i = 0; i < 16 * xmm_bytes; ++i)
        memory[at_data + i] = pattern(i);
}

// The host thread's own values, between two entries.
void use_registers() {
    static const std::uint64_t junk[2] = {0xabababababababab, 0xcdcdcdcdcdcdcdcd};
#define TAKE(n) "movups (%0), %%xmm" #n "\n"
    asm volatile(EACH_XMM(TAKE) EACH_HIGH_XMM(TAKE) "fninit\nfldpi\nfldpi\nfstp %%st\nfstp %%st"
                 :
                 : "r"(junk)
                 : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st", "st(1)");
#undef TAKE
}

Expect after_exits(std::function<std::string(const Result &)> more) {
    Expect e;
    e.writes_to = at_saved + 0x200;
    e.any_gprs = 1u << HWV_RAX | 1u << HWV_RBX | 1u << HWV_RCX | 1u << HWV_RDX | 1u << HWV_RBP;
    e.more = std::move(more);
    return e;
}

std::string sse_kept(const Result &r, unsigned registers) {
    for (unsigned i = 0; i < registers * xmm_bytes; ++i)
        if (r.after[at_saved + i] != pattern(i))
            return "xmm" + std::to_string(i / xmm_bytes) + " has " + hex(r.after[at_saved + i]) +
                   " in byte " + std::to_string(i % xmm_bytes);
    const std::uint64_t control = r.word(at_saved + 0x100);
    return control == mxcsr ? "" : "MXCSR is " + hex(control);
}

// 1.0, 2.0 ... 128.0 were loaded, so that the last one is on top; FCOM found it the greater.
std::string x87_kept(const Result &r) {
    for (unsigned n = 0; n < 8; ++n) {
        const std::uint64_t at = at_saved + 16 * n;
        if (r.word(at, 8) != 1ull << 63 || r.word(at + 8, 2) != 0x3fffu + 7 - n)
            return "st(" + std::to_string(n) + ") is " + hex(r.word(at + 8, 2)) + ":" +
                   hex(r.word(at, 8));
    }
    const std::uint64_t control = r.word(at_saved + 0x98, 2), status = r.word(at_saved + 0x90, 2);
    if (control != control_word) return "the control word is " + hex(control);
    return (status & 0x7d00) == 0 ? "" : "the status word is " + hex(status);
}

using Check = std::function<std::string(const Result &)>;

void put_x87(std::span<std::uint8_t> memory) {
    store(memory, at_data + 0x180, control_word, 2);
    for (unsigned n = 0; n < 8; ++n)
        store(memory, at_data + 0x184 + 4 * n, (127ull + n) << 23, 4); // 2^n
}

void put_sse(std::span<std::uint8_t> memory) {
    put_pattern(memory);
    store(memory, at_data + 0x180, mxcsr, 4);
}

void survive(Mode mode, const char *what, const Text &text, void (*put)(std::span<std::uint8_t>),
             Check more) {
    Case c{.name = std::string{"FPU/"} + name(mode) + "/" + what, .mode = mode};
    c.code = text.bytes(bits(mode));
    c.expect = after_exits(std::move(more));
    for (unsigned n = 0; n < 20; ++n)
        for (std::uint64_t port : {0x80, 0x81})
            c.expect.accesses.push_back({Access::io, port, 1, true, 0});
    c.prepare = [put](hwv_regs &r, std::span<std::uint8_t> memory) {
        put(memory);
        r.gpr[HWV_RSI] = at_data;
        r.gpr[HWV_RDI] = at_saved;
    };
    c.on_exit = [](TestVm &, const Access &) { use_registers(); };
    add(std::move(c));
}

const Topic kept{"fpu/kept", [] {
                     survive(Mode::long64, "sse", sse64, put_sse,
                             [](const Result &r) { return sse_kept(r, 16); });
                     for (Mode mode : {Mode::prot32, Mode::pae, Mode::compat})
                         survive(mode, "sse", sse32, put_sse,
                                 [](const Result &r) { return sse_kept(r, 8); });
                     for (Mode mode : {Mode::real, Mode::prot32, Mode::long64})
                         survive(mode, "x87", x87, put_x87, x87_kept);
                 }};

// ---- HWV_XSAVE ----

GUEST64(store_all, EACH_HIGH_XMM(STORE_XMM) EACH_XMM(STORE_XMM) "hlt")

constexpr unsigned xmm_in_area = 160, legacy_bytes = 416,
                   xstate_bv = 512; // of the XSAVE area's standard format

std::vector<std::uint8_t> area_of(Machine &m) {
    std::vector<std::uint8_t> area(8192);
    m.vcpu.get_xsave(std::as_writable_bytes(std::span{area}));
    return area;
}

void set_area(Machine &m, const std::vector<std::uint8_t> &area) {
    m.vcpu.set_xsave(std::as_bytes(std::span{area}));
}

std::string xsave_round_trip() {
    Machine m{Mode::long64, store_all,
              [](hwv_regs &r, std::span<std::uint8_t>) { r.gpr[HWV_RDI] = at_saved; }};
    auto area = area_of(m);
    for (unsigned i = 0; i < 16 * xmm_bytes; ++i)
        area[xmm_in_area + i] = pattern(i);
    area[xstate_bv] |= 2;
    set_area(m, area);
    use_registers();
    if (area_of(m) != area) return "another area is read back";
    if (std::string wrong = m.run_to_halt(); !wrong.empty()) return wrong;
    if (std::memcmp(&m.memory()[at_saved], &area[xmm_in_area], 16 * xmm_bytes) != 0)
        return "the guest has other registers";
    // XSTATE_BV may now name what was in its initial state before.
    const auto now = area_of(m);
    return std::equal(now.begin(), now.begin() + legacy_bytes, area.begin())
               ? ""
               : "another area is read after the run";
}

std::string refused(std::size_t at, unsigned bytes, std::uint64_t bits) {
    Machine m;
    const auto good = area_of(m);
    auto area = good;
    area[xstate_bv] |= 2; // MXCSR counts with SSE
    store(area, at, load(area, at, bytes) | bits, bytes);
    try {
        set_area(m, area);
    } catch (const hwv::Error &e) {
        if (e.code() != EINVAL) return e.what();
        return area_of(m) == good ? "" : "refused, but the state is another";
    }
    return "accepted";
}

const Topic xsave{"fpu/xsave", [] {
                      add("XSAVE/round_trip", xsave_round_trip);
                      add("XSAVE/state_unknown", [] { return refused(xstate_bv, 8, 1ull << 62); });
                      add("XSAVE/header_reserved", [] { return refused(xstate_bv + 24, 8, 1); });
                      add("XSAVE/mxcsr_reserved", [] { return refused(24, 4, 1u << 31); });
                  }};

// ---- the host thread's registers ----

GUEST64(others, EACH_XMM(LOAD_XMM)
                    EACH_HIGH_XMM(LOAD_XMM) "fninit\nfldpi\nldmxcsr 0x180(%rsi)\n" EXITS "hlt")

struct HostState {
    std::uint8_t xmm[16 * xmm_bytes];
    std::uint32_t mxcsr;
    std::uint16_t control;
    long double top;
};

// HWV_RUN between loading the thread's registers and storing them, with nothing in between.
long run_around(int fd, const HostState &in, HostState &out) {
    long result = SYS_ioctl;
#define IN(n) "movups 16*" #n "(%[in]), %%xmm" #n "\n"
#define OUT(n) "movups %%xmm" #n ", 16*" #n "(%[out])\n"
    asm volatile(
        EACH_XMM(IN)
            EACH_HIGH_XMM(IN) "ldmxcsr %[mxcsr]\nfldcw %[control]\nfldt %[top]\n"
                              "syscall\n" EACH_XMM(OUT) EACH_HIGH_XMM(
                                  OUT) "stmxcsr %[mxcsr2]\nfnstcw %[control2]\nfstpt %[top2]"
        : "+a"(result), [mxcsr2] "=m"(out.mxcsr), [control2] "=m"(out.control), [top2] "=m"(out.top)
        : "D"(fd), "S"(HWV_RUN), "d"(0), [in] "r"(in.xmm), [out] "r"(out.xmm),
          [mxcsr] "m"(in.mxcsr), [control] "m"(in.control), [top] "m"(in.top)
        : "memory", "rcx", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
          "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
#undef IN
#undef OUT
    return result;
}

std::string host_unharmed() {
    Machine m{Mode::long64, others, [](hwv_regs &r, std::span<std::uint8_t> memory) {
                  put_sse(memory);
                  r.gpr[HWV_RSI] = at_data;
              }};
    HostState usual{}, in{}, out{};
    asm("stmxcsr %0\nfnstcw %1" : "=m"(usual.mxcsr), "=m"(usual.control));
    for (unsigned i = 0; i < sizeof in.xmm; ++i)
        in.xmm[i] = static_cast<std::uint8_t>(0x91 + 5 * i);
    in.mxcsr = 0x3f80; // down
    in.control = 0x077f;
    in.top = 3.25L;
    std::string wrong;
    for (unsigned n = 0; wrong.empty() && m.vcpu.exit().reason != HWV_EXIT_HLT; ++n) {
        const long result = run_around(m.vcpu.fd(), in, out);
        if (result || n > 50) wrong = "HWV_RUN gave " + std::to_string(result);
        if (std::memcmp(in.xmm, out.xmm, sizeof in.xmm)) wrong = "other XMM registers";
        if (in.mxcsr != out.mxcsr) wrong = "MXCSR is " + hex(out.mxcsr);
        if (in.control != out.control) wrong = "the control word is " + hex(out.control);
        if (in.top != out.top) wrong = "another st(0)";
    }
    asm volatile("ldmxcsr %0\nfldcw %1" : : "m"(usual.mxcsr), "m"(usual.control));
    return wrong;
}

const Topic host{"fpu/host", [] { add("FPU/host_unharmed", host_unharmed); }};

} // namespace
} // namespace conformance
