// SPDX-License-Identifier: GPL-2.0-only
// timeout: 60
// bed: --smp 2
// A guest counts in every page of its memory without ever leaving by itself, while the owner keeps
// changing how that memory is mapped, never what is in it. An increment that went to a page which
// was taken away is missing at the end.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

constexpr unsigned pages = 64;
constexpr std::size_t page = 4096, huge = 2 << 20;

//        sti                   ; for Bochs, see raw::loop_for_ever
//        xor  ebx, ebx         ; rounds
// round: xor  ax, ax
// next:  mov  ds, ax
//        inc  dword [0]
//        add  ax, 0x100
//        cmp  ax, 0x4000       ; 64 pages
//        jb   next
//        inc  ebx
//        jmp  round
const std::string program{
    "\xfb\x66\x31\xdb\x31\xc0\x8e\xd8\x66\xff\x06\x00\x00\x05\x00\x01\x3d\x00\x40"
    "\x72\xf1\x66\x43\xeb\xeb",
    25};

class Counter {
  public:
    Counter() {
        auto *room = static_cast<char *>(
            ::mmap(nullptr, 2 * huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        memory_ = reinterpret_cast<char *>((reinterpret_cast<std::uintptr_t>(room) + huge - 1) &
                                           ~(huge - 1));
        raw::map_program(vm_, program);
        hwv_memory slot{.slot = 1, .size = huge, .hva = reinterpret_cast<std::uint64_t>(memory_)};
        raw::call(vm_, HWV_SET_MEMORY, &slot);
    }
    ~Counter() {
        ::munmap(run_, HWV_RUN_PAGE_SIZE);
        ::close(vcpu_);
        ::close(vm_);
    }

    // The slot with other flags: all of its leaves go, and it logs or does not.
    void reflag(int round) {
        hwv_memory slot{.slot = 1,
                        .flags = round % 2 ? HWV_MEMORY_LOG_DIRTY : 0,
                        .size = huge,
                        .hva = reinterpret_cast<std::uint64_t>(memory_)};
        refused_ += raw::call(vm_, HWV_SET_MEMORY, &slot) != 0;
    }
    int refused() const { return refused_; }

    // Runs the guest while `change` is called over and over.
    void storm(const std::string &name, int times,
               const std::function<void(char *memory, int round)> &change) {
        std::atomic<long> result{1};
        std::thread runner([&] { result = raw::call(vcpu_, HWV_RUN); });
        for (int i = 0; i < times; ++i)
            change(memory_, i);
        raw::call(vcpu_, HWV_KICK);
        runner.join();
        report(name + "_ran", result == 0 && run_->exit.reason == HWV_EXIT_KICKED,
               "HWV_RUN " + std::to_string(result) + ", reason " +
                   std::to_string(run_->exit.reason) + ", error " +
                   std::to_string(run_->exit.error.code2));
        judge(name);
    }

  private:
    // Where the guest stood when it was kicked: pages before it have one increment more than those
    // behind.
    void judge(const std::string &name) {
        run_->reply.wanted = HWV_REGS_GPR;
        raw::call(vcpu_, HWV_SYNC_REGS);
        auto rounds = static_cast<std::uint32_t>(run_->regs.gpr[HWV_RBX]);
        std::uint64_t wrong = 0;
        std::uint32_t last = rounds + 1;
        for (unsigned n = 0; n < pages; ++n) {
            std::uint32_t count;
            std::memcpy(&count, memory_ + n * page, sizeof count);
            wrong += (count != rounds && count != rounds + 1) || count > last;
            last = count;
        }
        report(name + "_counted", rounds > 0 && wrong == 0,
               std::to_string(wrong) + " pages are off after " + std::to_string(rounds) +
                   " rounds");
    }

    int vm_ = raw::create_vm();
    int vcpu_ = raw::create_vcpu(vm_);
    hwv_run *run_ = raw::map_run(vcpu_);
    char *memory_;
    int refused_ = 0;
};

// Write-protects all of it; the first write of either side copies or takes back.
void fork_and_reap(char *, int) {
    pid_t child = ::fork();
    if (child == 0) std::_Exit(0);
    ::waitpid(child, nullptr, 0);
}

void collapse_and_split(char *memory, int round) {
    constexpr int collapse = 25; // MADV_COLLAPSE
    if (round % 2 == 0) {
        ::madvise(memory, huge, collapse);
        return;
    }
    char *beyond = memory + (pages + 32) * page; // splits it; the guest does not count there
    ::madvise(beyond, page, MADV_DONTNEED);
    (void)*static_cast<volatile char *>(beyond);
}

void page_out(char *memory, int) { ::madvise(memory, pages * page, MADV_PAGEOUT); }

void compact(char *, int) { std::ofstream("/proc/sys/vm/compact_memory") << 1; }

//        sti
// copy:  mov  ax, [0]
//        mov  [0x1000], ax
//        jmp  copy
const std::string copy_program{"\xfb\xa1\x00\x00\xa3\x00\x10\xeb\xf8", 9};

// The guest copies a word from page 0 to page 1 for ever, while page 0 is thrown away and made
// anew. A page that was on its way into the guest's tables when it was thrown away would stay
// there, and the new word would never be seen.
void check_replaced(int most, std::chrono::seconds limit) {
    int vm = raw::create_vm(), vcpu = raw::create_vcpu(vm);
    raw::map_program(vm, copy_program);
    auto *memory = static_cast<char *>(
        ::mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    hwv_memory slot{.slot = 1, .size = 2 * page, .hva = reinterpret_cast<std::uint64_t>(memory)};
    raw::call(vm, HWV_SET_MEMORY, &slot);
    auto *from = reinterpret_cast<volatile std::uint16_t *>(memory);
    auto *to = reinterpret_cast<volatile std::uint16_t *>(memory + page);
    std::atomic<long> result{1};
    std::thread runner([&] { result = raw::call(vcpu, HWV_RUN); });
    int seen = 0, rounds = 0;
    const auto end =
        std::chrono::steady_clock::now() + limit; // on a busy machine every flush takes its time
    for (int i = 1; i <= most && std::chrono::steady_clock::now() < end; ++i, ++rounds) {
        // The first makes the guest fault, the second comes while it does.
        for (int n = 0; n < 2; ++n) {
            ::madvise(memory, page, MADV_DONTNEED);
            *from = static_cast<std::uint16_t>(i);
        }
        for (int wait = 0; wait < 2000 && *to != static_cast<std::uint16_t>(i); ++wait)
            ::usleep(wait < 100 ? 1 : 100);
        seen += *to == static_cast<std::uint16_t>(i);
    }
    raw::call(vcpu, HWV_KICK);
    runner.join();
    expect("replaced_ran", result, 0);
    expect("replaced_seen", seen, rounds);
    ::close(vcpu);
    ::close(vm);
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("memory_storm", "this machine cannot run guests");
        return 0;
    }
    Counter guest;
    guest.storm("fork", 60, fork_and_reap);
    guest.storm("collapse", 60, collapse_and_split);
    guest.storm("page_out", 200, page_out);
    guest.storm("compaction", 20, compact);
    guest.storm("reflag", 300, [&guest](char *, int round) { guest.reflag(round); });
    expect("reflag_refused", guest.refused(), 0);
    check_replaced(2000, std::chrono::seconds(12));
    return verdict();
}
