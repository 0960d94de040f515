// SPDX-License-Identifier: GPL-2.0-only
// timeout: 240
// bed: --smp 2
// One thread scribbles on all of the run page, and on the structures that calls are given, while
// another runs a guest by them: what the kernel has copied once it may trust, what it has not it
// may not read.
#include <atomic>
#include <cstdio>
#include <cstring>
#include <sys/mman.h>
#include <thread>
#include "fuzz/fuzz.hpp"
#include "fuzz/qemu.hpp"
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

using fuzz::Random;

// Leaves by a port, by memory that is not there, by CPUID in the kernel, by HLT; and again.
//     mov ax, 0xa000;  mov ds, ax;  mov dx, 0x10
//     out dx, ax;  in ax, dx;  mov [0], ax;  mov ax, [2];  cpuid;  hlt;  jmp to the out
const std::string program{"\xb8\x00\xa0\x8e\xd8\xba\x10\x00"
                          "\xef\xed\xa3\x00\x00\xa1\x02\x00\x0f\xa2\xf4\xeb\xf3",
                          21};

struct Tally {
    std::atomic<std::uint64_t> runs, entered, refused, syncs;
};
Tally *tally; // shared with the children

// Single bytes and words, at times a whole group of plausible registers, so that not all is
// refused.
void scribble(Random &r, volatile std::uint8_t *page, std::atomic<bool> &stop) {
    auto *run = reinterpret_cast<volatile hwv_run *>(page);
    while (!stop) {
        const std::size_t at = r.below(HWV_RUN_PAGE_SIZE);
        switch (r.below(10)) {
        case 0: page[at] = static_cast<std::uint8_t>(r.next()); break;
        case 1: page[at] = page[at] ^ static_cast<std::uint8_t>(1u << r.below(8)); break;
        case 2: reinterpret_cast<volatile std::uint64_t *>(page)[at / 8] = r.boundary(); break;
        case 3: run->reply.dirty = static_cast<std::uint32_t>(r.below(33)); break;
        case 4:
            run->reply.flags = static_cast<std::uint32_t>(r.below(16));
            run->reply.wanted = static_cast<std::uint32_t>(r.below(32));
            run->reply.cr8 = r.below(17);
            break;
        default:
            for (std::size_t i = 0; i < sizeof(hwv_reply); ++i)
                reinterpret_cast<volatile std::uint8_t *>(&run->reply)[i] = 0;
        }
    }
}

// The arguments of calls that point to further memory change under them too.
struct Arguments {
    hwv_msrs msrs;
    hwv_msr_entry entries[8];
};

void scribble_arguments(Random &r, Arguments &a, std::atomic<bool> &stop) {
    volatile hwv_msrs &msrs = a.msrs;
    while (!stop) {
        msrs.count = static_cast<std::uint32_t>(r.one_in(8) ? r.boundary() : r.below(9));
        msrs.flags = static_cast<std::uint32_t>(r.below(3));
        volatile hwv_msr_entry &entry = a.entries[r.below(8)];
        entry.index =
            static_cast<std::uint32_t>(r.one_in(2) ? 0xc0000080 + r.below(5) : r.boundary());
        entry.value = r.boundary();
    }
}

void drive(Random &r, int vcpu, Arguments &a) {
    for (;;) {
        if (r.one_in(4)) {
            ++tally->syncs;
            raw::call(vcpu, HWV_SYNC_REGS);
        } else if (r.one_in(8)) {
            a.msrs.entries = reinterpret_cast<std::uint64_t>(a.entries);
            raw::call(vcpu, HWV_MSRS, &a.msrs);
        } else {
            ++tally->runs;
            ++(raw::call(vcpu, HWV_RUN) == 0 ? tally->entered : tally->refused);
        }
    }
}

// For ever: its parent kills it, in the midst of whatever it does.
void round_of(Random &r) {
    const int vm = raw::create_vm(r.below(16));
    raw::map_program(vm, program);
    const int vcpu = raw::create_vcpu(vm);
    fuzz::take_long_mode(vcpu);
    auto *page = reinterpret_cast<volatile std::uint8_t *>(raw::map_run(vcpu));
    static Arguments arguments;
    std::atomic<bool> stop{false};
    std::thread scribbler([&, own = Random{r.next()}]() mutable { scribble(own, page, stop); });
    std::thread other(
        [&, own = Random{r.next()}]() mutable { scribble_arguments(own, arguments, stop); });
    const fuzz::Ticker ticker{vcpu, 1000};
    drive(r, vcpu, arguments);
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("fuzz.run_page", "this machine cannot run guests");
        return 0;
    }
    fuzz::arm();
    tally = static_cast<Tally *>(
        ::mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    report("fuzz.run_page.killable", fuzz::rounds(fuzz::seconds(8), 1.5, round_of),
           "a process cannot be killed");
    std::printf("# %lu runs, %lu entered, %lu refused, %lu syncs\n", tally->runs.load(),
                tally->entered.load(), tally->refused.load(), tally->syncs.load());
    report("fuzz.run_page.both_ways", tally->entered > 20 && tally->refused > 20,
           "all entered or all refused");
    report("fuzz.run_page.guest_still_runs", fuzz::guest_still_runs(), "a new VM does not work");
    const std::string line = fuzz::complaint();
    report("fuzz.run_page.log_clean", line.empty(), line);
    return verdict();
}
