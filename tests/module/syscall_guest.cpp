// SPDX-License-Identifier: GPL-2.0-only
#include "module/syscall_guest.hpp"
#include <algorithm>
#include <asm/prctl.h>
#include <chrono>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include "conformance/guest.hpp"
#include "hwv/vcpu.hpp"

namespace {

using namespace conformance;

// What the guest is told and says, in a page of its own.
constexpr std::uint64_t at_gdt = 0x1000, at_data = 0x9000, at_idt = 0xe000, at_code = 0x10000;
constexpr unsigned timer_vector = 0x40;
enum Word : unsigned { // the guest's text knows the offsets
    count = 0x00,
    star = 0x08,
    lstar = 0x10,
    sfmask = 0x18,
    kernel_gs = 0x20,
    gs = 0x28,
    tsc_aux = 0x30,
    kernel_cs = 0x38,
    flags = 0x40, // AC and ID that SFMASK leaves (QEMU loses the arithmetic ones)
    user_rip = 0x48,
    calls = 0x50,
    why = 0x58,
    naps = 0x60,   // how often, before it leaves, it halts until the timer's tick and goes on
    period = 0x68, // of the timer, nanoseconds; 0: none
};

// The host resumes it behind its OUT for another round. At GS:0 is GS's own address. Linear
// addresses of words above: 0x9000 and on.
GUEST64(program,
        // "unequal N, label": unless the comparison before said equal, complaint N is made
        ".macro unequal number, label\n"
        "je 9f\n movl $\\number, 0x9058\n jmp \\label\n 9:\n"
        ".endm\n"
        ".macro msr index, value\n"
        "mov $\\index, %ecx\n mov \\value, %eax\n mov 4+\\value, %edx\n wrmsr\n"
        ".endm\n"
        ".macro apic register, value\n"
        "mov $0xfee00000, %eax\n mov \\value, %ecx\n mov %ecx, \\register(%rax)\n"
        ".endm\n"
        "msr 0xc0000081, 0x9008\n msr 0xc0000082, 0x9010\n msr 0xc0000084, 0x9018\n"
        "msr 0xc0000102, 0x9020\n msr 0xc0000101, 0x9028\n msr 0xc0000103, 0x9030\n"
        "cmpl $0, 0x9068\n je 1f\n"
        "apic 0xf0, $0x1ff\n apic 0x3e0, $0xb\n apic 0x320, $0x20040\n apic 0x380, 0x9068\n"
        "1: mov 0x9050, %rbx\n mov 0x9048, %rcx\n mov $2, %r11d\n"
        "xor %ebp, %ebp\n sysretq\n ud2\n"
        // user mode
        ".balign 64\n"
        "2: rdtscp\n cmp 0x9030, %ecx\n unequal 1, 3f\n"
        "mov %gs:0, %rax\n cmp 0x9028, %rax\n unequal 2, 3f\n"
        "pushfq\n orl $0x240000, (%rsp)\n popfq\n syscall\n"
        "dec %rbx\n jnz 2b\n"
        "3: mov $1, %ebp\n syscall\n ud2\n"
        // LSTAR
        ".balign 64\n"
        "pushfq\n pop %rdx\n test %ebp, %ebp\n jnz 5f\n"
        "and $0x240000, %edx\n cmp 0x9040, %edx\n unequal 3, 5f\n"
        "mov %cs, %edx\n cmp 0x9038, %edx\n unequal 4, 5f\n"
        "swapgs\n mov %gs:0, %rax\n cmp 0x9020, %rax\n unequal 5, 5f\n"
        "swapgs\n incq 0x9000\n sysretq\n"
        "5: cmpl $0, 0x9058\n jne 6f\n cmpq $0, 0x9060\n je 6f\n"
        "decq 0x9060\n sti\n hlt\n cli\n jmp 1b\n"
        "6: out %al, $0x10\n jmp 1b\n ud2\n"
        // the timer's interrupt
        ".balign 64\n"
        "push %rax\n push %rcx\n apic 0xb0, $0\n pop %rcx\n pop %rax\n iretq\n"
        ".purgem unequal\n .purgem msr\n .purgem apic\n")

struct Identity {
    std::uint64_t base, star, sfmask, kernel_cs, flags, gs, kernel_gs, tsc_aux;
};
constexpr Identity identities[] = {
    {at_code, 0x0018'0008ull << 32, 0x4'0000, 0x08, 0x20'0000, 0xa000, 0xb000, 0x1234},
    {at_code + 0x2000, 0x0040'0030ull << 32, 0x20'0000, 0x30, 0x4'0000, 0xc000, 0xd000, 0x5678},
};

// UD2 ends each part but the last. The next one begins at a multiple of 64.
std::uint64_t part(const Bytes &code, unsigned number) {
    const Bytes ud2{0x0f, 0x0b};
    auto at = code.begin();
    for (unsigned i = 0; i < number; ++i)
        at = std::search(at, code.end(), ud2.begin(), ud2.end()) + 2;
    return (static_cast<std::uint64_t>(at - code.begin()) + 63) & ~63ull;
}

const char *const complaints[] = {
    "",
    "TSC_AUX is another's",
    "GS base is another's",
    "SYSCALL masked other flags",
    "SYSCALL loaded another CS",
    "KERNEL_GS_BASE is another's",
};

} // namespace

std::uint64_t &SyscallGuest::word(std::uint64_t at) {
    return *reinterpret_cast<std::uint64_t *>(vm_->memory().data() + at);
}

SyscallGuest::SyscallGuest(oracle::Kind kind, unsigned identity, std::uint32_t timer_ns)
    : vm_{oracle::make_vm(kind, {.memory = 2u << 20,
                                 .apic = timer_ns != 0,
                                 .hlt_to_user = timer_ns == 0,
                                 .ride = true})} {
    const Identity &me = identities[identity];
    const Bytes code = program.bytes(64);
    std::copy(code.begin(), code.end(), vm_->memory().begin() + static_cast<long>(me.base));
    word(at_data + star) = me.star;
    word(at_data + lstar) = me.base + part(code, 2);
    word(at_data + sfmask) = me.sfmask;
    word(at_data + kernel_gs) = word(me.kernel_gs) = me.kernel_gs;
    word(at_data + gs) = word(me.gs) = me.gs;
    word(at_data + tsc_aux) = me.tsc_aux;
    word(at_data + kernel_cs) = me.kernel_cs;
    word(at_data + flags) = me.flags;
    word(at_data + user_rip) = me.base + part(code, 1);
    word(at_data + period) = timer_ns;
    const std::uint64_t apic_base = vm_->regs().apic_base;
    hwv_regs regs = oracle::long_mode(vm_->memory(), me.base);
    regs.apic_base = apic_base;
    regs.idtr = {at_idt, 0xfff, 0};
    // The interrupt comes on the code segment of SYSCALL, and returns to it.
    word(at_gdt + me.kernel_cs) = 0x00af'9b00'0000'ffff;
    word(at_gdt + me.kernel_cs + 8) = 0x00cf'9300'0000'ffff;
    const std::uint64_t handler = me.base + part(code, 3);
    word(at_idt + 16 * timer_vector) =
        (handler & 0xffff) | me.kernel_cs << 16 | 0x8e00ull << 32 | (handler >> 16) << 48;
    vm_->set_regs(regs, HWV_REGS_GPR | HWV_REGS_SEGMENT | HWV_REGS_CONTROL);
}

std::string SyscallGuest::run(unsigned number, unsigned halts) {
    const std::uint64_t before = word(at_data + count);
    word(at_data + calls) = number;
    word(at_data + naps) = halts;
    hwv_exit exit{};
    do
        exit = vm_->run();
    while (exit.reason == HWV_EXIT_KICKED);
    const std::uint64_t wrong = word(at_data + why), done = word(at_data + count) - before;
    const std::uint64_t due = std::uint64_t{number} * (halts + 1);
    if (exit.reason != HWV_EXIT_IO) return std::string{"left by "} + hwv::exit_name(exit.reason);
    if (wrong) return wrong < std::size(complaints) ? complaints[wrong] : "the report is garbled";
    if (done != due) return std::to_string(done) + " system calls of " + std::to_string(due);
    return {};
}

HostThreadState::HostThreadState() : self_{reinterpret_cast<std::uint64_t>(&self_)} {
    ::syscall(SYS_arch_prctl, ARCH_SET_GS, &self_);
}

std::string HostThreadState::check() const {
    std::uint64_t at_gs = 0;
    unsigned aux = 0;
    asm volatile("mov %%gs:0, %0" : "=r"(at_gs));
    __builtin_ia32_rdtscp(&aux);
    if (at_gs != self_) return "the host thread's GS base is another's";
    // the node's number is above the CPU's
    if ((aux & 0xfff) >= static_cast<unsigned>(::get_nprocs_conf()))
        return "the host's TSC_AUX is " + std::to_string(aux);
    return {};
}

void pin_this_thread(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    ::sched_setaffinity(0, sizeof set, &set);
}

SyscallWorker::SyscallWorker(oracle::Kind kind, unsigned identity, const WorkerManner &manner)
    : manner_{manner}, guest_{kind, identity, manner.timer_ns}, thread_{[this] { work(); }} {}

void SyscallWorker::work() {
    if (manner_.cpu >= 0) pin_this_thread(manner_.cpu);
    const sched_param priority{.sched_priority = 1};
    if (manner_.real_time && ::sched_setscheduler(0, SCHED_FIFO, &priority))
        complaint_ = "no real-time priority";
    const HostThreadState state;
    try {
        while (!stop_ && complaint_.empty()) {
            complaint_ = guest_.run(manner_.calls, manner_.halts);
            if (complaint_.empty()) complaint_ = state.check();
            rusage usage{};
            ::getrusage(RUSAGE_THREAD, &usage);
            preemptions_ = usage.ru_nivcsw;
            ++runs_;
        }
    } catch (const oracle::Failure &e) {
        complaint_ = e.what();
    }
    wrong_ = !complaint_.empty();
}

std::string SyscallWorker::stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return complaint_;
}

bool SyscallWorker::advances() {
    const std::uint64_t before = runs_;
    for (int i = 0; i < 1000 && !wrong_ && runs_ < before + 3; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return !wrong_ && runs_ >= before + 3;
}
