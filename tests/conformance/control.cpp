// SPDX-License-Identifier: GPL-2.0-only
// control.cpp - what a guest cannot do: see the host's MSRs, stay in the CPU for ever, see another
// guest's memory, change the host thread's registers.
// timeout: 120
// bed: --smp 2
#include <algorithm>
#include <asm/prctl.h>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include "conformance/machine.hpp"

namespace {

using namespace conformance;
using Clock = std::chrono::steady_clock;

unsigned failures = 0;

void report(const std::string &name, const std::string &wrong) {
    if (wrong.empty())
        std::printf("ok %s\n", name.c_str());
    else
        std::printf("not ok %s - %s\n", name.c_str(), wrong.c_str());
    std::fflush(stdout);
    failures += !wrong.empty();
}

// ---- every MSR of the architectural ranges ----

// Reads MSRs ESI..EDI-1; one that is answered goes to port 0x10 by its index. A #GP's handler goes
// on behind the RDMSR, with CF set; it is skipped by its length.
GUEST64(sweep, "1: movl %esi, %ecx\nclc\nrdmsr\njc 2f\nmovl %ecx, %eax\noutl %eax, $0x10\n"
               "2: incl %esi\ncmpl %edi, %esi\njne 1b\nhlt")
GUEST64(skip_rdmsr, "addl $2, 8(%rsp)\norl $1, 24(%rsp)\naddl $8, %esp\niretq")

struct Range {
    std::uint32_t first, last;
};
// What a guest may be answered: the architecture's, some of the chipset's, the paravirtual clock's.
constexpr Range allowed[] = {
    {0x0, 0x1},
    {0x10, 0x12},
    {0x17, 0x17},
    {0x1b, 0x1b},
    {0x2a, 0x2a},
    {0x34, 0x34},
    {0x3a, 0x3b},
    {0x48, 0x48},
    {0x8b, 0x8b},
    {0xc1, 0xc2},
    {0xcd, 0xce},
    {0xfe, 0xfe},
    {0x10a, 0x10a},
    {0x11e, 0x11e},
    {0x140, 0x140},
    {0x174, 0x176},
    {0x179, 0x17b},
    {0x186, 0x187},
    {0x198, 0x199},
    {0x1a0, 0x1a0},
    {0x1d9, 0x1d9},
    {0x1db, 0x1de},
    {0x200, 0x20f},
    {0x250, 0x250},
    {0x258, 0x259},
    {0x268, 0x26f},
    {0x277, 0x277},
    {0x2ff, 0x2ff},
    {0x400, 0x43f},
    {0x606, 0x606},
    {0x611, 0x611},
    {0x619, 0x619},
    {0x639, 0x639},
    {0x641, 0x641},
    {0x6e0, 0x6e0},
    {0x802, 0x83f},
    {0xc0000080, 0xc0000084},
    {0xc0000100, 0xc0000104},
    {0xc0010000, 0xc0010007},
    {0xc0010010, 0xc0010010},
    {0xc0010015, 0xc0010015},
    {0xc001001a, 0xc001001f},
    {0xc0010055, 0xc0010058},
    {0xc0010111, 0xc0010117},
    {0xc001011f, 0xc001011f}, // VIRT_SPEC_CTRL: the guest's own
    {0xc0010140, 0xc0010141},
    {0xc0010299, 0xc001029b},
    {0xc0011022, 0xc0011023},
    {0xc0011029, 0xc001102c},
};

bool is_allowed(std::uint32_t index) {
    return std::any_of(std::begin(allowed), std::end(allowed),
                       [&](Range r) { return index >= r.first && index <= r.last; });
}

std::string sweep_range(Range range) {
    Machine m{Mode::long64, sweep, [&](hwv_regs &r, std::span<std::uint8_t> memory) {
                  put_handler(memory, 13, skip_rdmsr.bytes(64));
                  r.gpr[HWV_RSI] = range.first;
                  r.gpr[HWV_RDI] = range.last;
              }};
    unsigned answered = 0;
    for (;; ++answered) {
        const hwv_exit e = m.run();
        if (e.reason == HWV_EXIT_HLT) break;
        if (e.reason != HWV_EXIT_IO)
            return std::string{"left by "} + hwv::exit_name(e.reason) + " at " + hex(m.regs().rip);
        if (!is_allowed(e.io.data)) return "a guest can read MSR " + hex(e.io.data);
    }
    if ((m.regs().gpr[HWV_RSI] & 0xffffffff) != range.last)
        return "it ended at " + hex(m.regs().gpr[HWV_RSI]);
    return answered ? "" : "none was answered";
}

// ---- guests that would never stop ----

GUEST(spin, "1: jmp 1b")
GUEST64(unaligned, "movl $1, (%rdx)\nhlt")
GUEST64(steps, "1: nop\njmp 1b")
GUEST64(go_back, "iretq")
GUEST64(drop_error_go_back, "addl $8, %esp\niretq")

using Start = std::function<void(hwv_regs &, std::span<std::uint8_t>)>;

// #DB on a stack of its own, so that it never runs out.
void use_ist(std::span<std::uint8_t> memory) {
    store(memory, at_tss + 0x24, at_kernel_stack, 8);
    store(memory, at_idt + 16 * 1 + 4, 1, 1);
}

// A #DB whose delivery is a #DB: the stack that it pushes to is a data breakpoint.
void db_on_delivery(hwv_regs &r, std::span<std::uint8_t> memory) {
    use_ist(memory);
    r.rflags |= 1u << 8;
    r.dr[0] = (at_kernel_stack - 8) & ~15ull;
    r.dr7 = 0x400 | 2 | 0x9u << 16; // 8 bytes, writes
    put_handler(memory, 1, go_back.bytes(64));
}

// The handler's first instruction is an instruction breakpoint.
void db_in_handler(hwv_regs &r, std::span<std::uint8_t> memory) {
    use_ist(memory);
    r.rflags |= 1u << 8;
    r.dr[0] = at_handlers + handler_size;
    r.dr7 = 0x400 | 2;
}

// An access at ring 3 that is not aligned, returned to for ever.
void ac_again(hwv_regs &r, std::span<std::uint8_t> memory) {
    r.cr0 |= 1u << 18;
    r.rflags |= 1u << 18;
    r.gpr[HWV_RDX] = at_data + 1;
    put_handler(memory, 17, drop_error_go_back.bytes(64));
}

void no_interrupts(hwv_regs &, std::span<std::uint8_t>) {}
void interrupts(hwv_regs &r, std::span<std::uint8_t>) { r.rflags |= 1u << 9; }

struct Endless {
    const char *name;
    Mode mode;
    const Text *text;
    Start start;
    const char *unjudged = nullptr;           // why QEMU 7.2 cannot judge it
    const char *unjudged_bochs_svm = nullptr; // the same for Bochs's SVM
    const char *unjudged_bochs_vmx = nullptr; // and for its VMX
};
const Endless endless[] = {
    {"spin_interruptible", Mode::long64, &spin, interrupts},
    {"spin", Mode::long64, &spin, no_interrupts, nullptr, bochs::no_host_interrupt,
     bochs::no_host_interrupt},
    {"spin_real", Mode::real, &spin, no_interrupts, nullptr, bochs::no_host_interrupt,
     bochs::no_host_interrupt},
    {"db_on_delivery", Mode::long64, &steps, db_on_delivery, nullptr, bochs::step},
    {"db_in_handler", Mode::long64, &steps, db_in_handler, "QEMU sets no breakpoints at VMRUN",
     bochs::step},
    {"ac", Mode::user64, &unaligned, ac_again, "QEMU 7.2 raises no #AC"},
};

double seconds_since(Clock::time_point then) {
    return std::chrono::duration<double>(Clock::now() - then).count();
}

std::string ended_by_kick(const Endless &e) {
    Machine m;
    m.start(e.mode, e.text->bytes(bits(e.mode)), e.start);
    Clock::time_point kicked;
    std::thread other{[&] {
        std::this_thread::sleep_for(std::chrono::milliseconds{100});
        kicked = Clock::now();
        m.vcpu.kick();
    }};
    const hwv_exit exit = m.run();
    other.join();
    const double took = seconds_since(kicked);
    if (exit.reason != HWV_EXIT_KICKED)
        return std::string{"left by "} + hwv::exit_name(exit.reason) + " at " + hex(m.regs().rip);
    return took < 1 ? "" : "the kick took " + std::to_string(took) + " s";
}

std::string ended_by_kill(const Endless &e) {
    const pid_t child = ::fork();
    if (child == 0) {
        Machine m;
        m.start(e.mode, e.text->bytes(bits(e.mode)), e.start);
        m.run();
        std::_Exit(1);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{200});
    const auto then = Clock::now();
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (!WIFSIGNALED(status)) return "it ended by itself";
    const double took = seconds_since(then);
    return took < 1 ? "" : "the kill took " + std::to_string(took) + " s";
}

// ---- eight at once ----

// Fills memory with numbers of its own, lets the others run and compares; EBX counts what differs.
#define OWN_MEMORY                                                                                 \
    "movl $200, %ebp\n1: movl $0xe400, %esi\n2: addl $4, %eax\nmovl %eax, (%esi)\naddl $4, %esi\n" \
    "cmpl $0xf400, %esi\njne 2b\noutb %al, $0x80\nmovl $0xf400, %esi\nmovl %eax, %ecx\n"           \
    "3: subl $4, %esi\ncmpl %ecx, (%esi)\nje 4f\nincl %ebx\n4: subl $4, %ecx\ncmpl $0xe400, "      \
    "%esi\n"                                                                                       \
    "jne 3b\ndecl %ebp\njnz 1b\nhlt"
GUEST(own_memory, OWN_MEMORY)

std::string one_of_many(unsigned n) {
    constexpr Mode modes[] = {Mode::long64, Mode::pae, Mode::real, Mode::prot32};
    const Mode mode = modes[n % 4];
    Machine m;
    m.start(mode, own_memory.bytes(bits(mode)), [n](hwv_regs &r, std::span<std::uint8_t>) {
        r.gpr[HWV_RAX] = 0x10000000ull * (n + 1);
    });
    if (std::string w = m.run_to_halt(); !w.empty()) return w;
    const std::uint64_t wrong = m.regs().gpr[HWV_RBX] & 0xffffffff;
    if (wrong) return std::to_string(wrong) + " words of another";
    if (m.regs().gpr[HWV_RBP] & 0xffffffff) return "not all rounds";
    return {};
}

std::string eight_at_once() {
    std::string wrong[8];
    std::vector<std::thread> threads;
    for (unsigned n = 0; n < 8; ++n)
        threads.emplace_back([n, &wrong] {
            try {
                wrong[n] = one_of_many(n);
            } catch (const std::exception &e) {
                wrong[n] = e.what();
            }
        });
    for (std::thread &t : threads)
        t.join();
    for (unsigned n = 0; n < 8; ++n)
        if (!wrong[n].empty()) return "VM " + std::to_string(n) + ": " + wrong[n];
    return {};
}

// ---- the host thread's FS and GS ----

GUEST64(out_for_ever, "1: outb %al, $0x80\njmp 1b")

std::uint64_t base(int which) {
    std::uint64_t value = 0;
    ::syscall(SYS_arch_prctl, which, &value);
    return value;
}

void hop_to(unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    ::sched_setaffinity(0, sizeof set, &set);
}

std::string bases_around_exits() {
    constexpr unsigned exits = 100000, each = 100;
    constexpr std::uint64_t gs = 0x123456789000;
    Machine m{Mode::long64, out_for_ever, [](hwv_regs &r, std::span<std::uint8_t>) {
                  r.segment[HWV_FS].base = 0x7000'1111'2222;
                  r.segment[HWV_GS].base = 0x7000'3333'4444;
              }};
    ::syscall(SYS_arch_prctl, ARCH_SET_GS, gs);
    const std::uint64_t fs = base(ARCH_GET_FS);
    std::string wrong;
    for (unsigned n = 0; n < exits && wrong.empty(); ++n) {
        if (m.run().reason != HWV_EXIT_IO) wrong = "the guest left otherwise";
        if (n % each) continue;
        if (base(ARCH_GET_FS) != fs) wrong = "FS base is " + hex(base(ARCH_GET_FS));
        if (base(ARCH_GET_GS) != gs) wrong = "GS base is " + hex(base(ARCH_GET_GS));
        hop_to(n / each & 1);
    }
    ::syscall(SYS_arch_prctl, ARCH_SET_GS, 0);
    const hwv_regs r = m.regs();
    if (wrong.empty() &&
        (r.segment[HWV_FS].base != 0x7000'1111'2222 || r.segment[HWV_GS].base != 0x7000'3333'4444))
        wrong = "the guest's bases are " + hex(r.segment[HWV_FS].base) + ", " +
                hex(r.segment[HWV_GS].base);
    return wrong;
}

} // namespace

int main() {
    report("msrs_low", sweep_range({0, 0x2000}));
    report("msrs_amd64", sweep_range({0xc0000000, 0xc0002000}));
    report("msrs_amd", sweep_range({0xc0010000, 0xc0012000}));
    for (const Endless &e : endless) {
        const char *why = on_qemu72()      ? e.unjudged
                          : on_bochs_svm() ? e.unjudged_bochs_svm
                          : on_bochs_vmx() ? e.unjudged_bochs_vmx
                                           : nullptr;
        if (why) {
            std::printf("skip endless/%s - %s\n", e.name, why);
            continue;
        }
        report(std::string{"endless/"} + e.name + "/kick", ended_by_kick(e));
        report(std::string{"endless/"} + e.name + "/kill", ended_by_kill(e));
    }
    report("eight_at_once", eight_at_once());
    report("host_fs_gs", bases_around_exits());
    return failures ? 1 : 0;
}
