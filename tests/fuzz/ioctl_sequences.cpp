// SPDX-License-Identifier: GPL-2.0-only
// timeout: 240
// bed: --smp 2
// Any request, with any argument, on any descriptor, by several threads and by children, while
// descriptors come and go and guests run random bytes: nothing that the kernel complains of,
// nothing that cannot be killed.
#include <atomic>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>
#include "fuzz/fuzz.hpp"
#include "fuzz/qemu.hpp"
#include "module/raw.hpp"
#include "module/report.hpp"
#include "module/watched.hpp"

namespace {

using fuzz::Random;

constexpr unsigned long requests[] = {HWV_GET_INFO,       HWV_GET_CPUID,      HWV_CREATE_VM,
                                      HWV_SET_MEMORY,     HWV_DIRTY_LOG,      HWV_MSI,
                                      HWV_IRQFD,          HWV_CREATE_VCPU,    HWV_IOEVENTFD,
                                      HWV_EOI_EXITS,      HWV_CLOCK,          HWV_RUN,
                                      HWV_KICK,           HWV_SYNC_REGS,      HWV_SET_CPUID,
                                      HWV_MSRS,           HWV_XSAVE,          HWV_APIC_REG,
                                      HWV_INTERRUPT,      HWV_LIST_VMS,       HWV_ATTACH,
                                      HWV_OBSERVE_INFO,   HWV_PAUSE,          HWV_RESUME,
                                      HWV_KILL,           HWV_RING_OPEN,      HWV_RING_CLOSE,
                                      HWV_OBSERVE_REGS,   HWV_OBSERVE_MEMORY, HWV_POLICY_SET,
                                      HWV_POLICY_GET,     HWV_STOP_GET,       HWV_STOP_REPLY,
                                      HWV_PROGRAM_ATTACH, HWV_PROGRAM_DETACH, HWV_PROGRAM_LIST,
                                      HWV_OBSERVE_EVENTFD};

constexpr unsigned long sometimes_msrs[] = {
    0x10,       0x1b,       0x174,      0x277,      0x6e0,      0x802,      0x830,      0xc0000080,
    0xc0000081, 0xc0000102, 0xc0000103, 0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03, 0x4b564d04};

constexpr std::size_t arena_bytes = 1 << 16, guest_bytes = 1 << 20;
constexpr unsigned pool_size = 24;
std::atomic<int> pool[pool_size];
char *guest_memory;

// A thread's own arguments, with nothing behind them.
struct Arena {
    char *bytes = static_cast<char *>(::mmap(nullptr, arena_bytes + 4096, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    Arena() { ::mprotect(bytes + arena_bytes, 4096, PROT_NONE); }
};

int any_fd(Random &r) { return pool[r.below(pool_size)]; }

void keep(Random &r, long fd) {
    if (fd < 0) return;
    const int old = pool[r.below(pool_size)].exchange(static_cast<int>(fd));
    if (old >= 0) ::close(old);
}

void keep_vcpu(Random &r, long fd) {
    if (fd >= 0) fuzz::take_long_mode(static_cast<int>(fd));
    keep(r, fd);
}

std::uint64_t any_pointer(Random &r, Arena &arena) {
    switch (r.below(8)) {
    case 0: return 0;
    case 1: return 0xffff'8880'0000'0000;
    case 2: return reinterpret_cast<std::uint64_t>(arena.bytes) + arena_bytes - r.below(64);
    default: return reinterpret_cast<std::uint64_t>(arena.bytes) + 0x8000 + 8 * r.below(64);
    }
}

// Words of the sorts that structures are made of.
void fill(Random &r, Arena &arena, void *at, std::size_t bytes) {
    auto *words = static_cast<std::uint32_t *>(at);
    for (std::size_t i = 0; i + 1 < bytes / 4; ++i) {
        if (i % 2 == 0 && r.one_in(4)) {
            const std::uint64_t p = any_pointer(r, arena);
            std::memcpy(&words[i++], &p, 8);
        } else {
            words[i] = r.one_in(3)   ? 0
                       : r.one_in(6) ? static_cast<std::uint32_t>(any_fd(r))
                                     : static_cast<std::uint32_t>(r.boundary());
        }
    }
}

void any_call(Random &r, Arena &arena) {
    unsigned long request = requests[r.below(std::size(requests))];
    auto *argument = reinterpret_cast<char *>(r.one_in(16) ? any_pointer(r, arena) : 0);
    if (!argument) {
        argument = arena.bytes + 8 * r.below(32);
        fill(r, arena, argument, r.one_in(4) ? 1024 : 128);
    }
    if (r.one_in(16)) request = raw::with_size(request, r.below(1 << _IOC_SIZEBITS));
    if (r.one_in(32)) request ^= 1ul << r.below(32);
    if (_IOC_SIZE(request) == 0 && !r.one_in(8)) argument = nullptr;
    const int fd = any_fd(r);
    const long result = raw::call(fd, request, argument);
    const unsigned number = _IOC_NR(request);
    if (number == _IOC_NR(HWV_SET_CPUID) && result == 0) fuzz::take_long_mode(fd);
    if (number == _IOC_NR(HWV_CREATE_VM) || number == _IOC_NR(HWV_ATTACH)) keep(r, result);
    if (number == _IOC_NR(HWV_CREATE_VCPU)) keep_vcpu(r, result);
}

void set_memory(Random &r) {
    hwv_memory slot{.slot = static_cast<std::uint32_t>(r.below(4)),
                    .flags = static_cast<std::uint32_t>(r.below(4)),
                    .gpa = r.one_in(2)   ? 0xfffff000
                           : r.one_in(4) ? r.boundary()
                                         : r.below(256) << 12,
                    .size = r.one_in(4) ? 0 : r.below(8) << 12,
                    .hva = reinterpret_cast<std::uint64_t>(guest_memory) + (r.below(248) << 12)};
    if (r.one_in(16)) slot.hva = r.boundary();
    raw::call(any_fd(r), HWV_SET_MEMORY, &slot);
}

void set_msrs(Random &r, Arena &arena) {
    auto *entries = reinterpret_cast<hwv_msr_entry *>(arena.bytes + 0x4000);
    for (unsigned i = 0; i < 8; ++i)
        entries[i] = {
            .index = static_cast<std::uint32_t>(sometimes_msrs[r.below(std::size(sometimes_msrs))]),
            .value = r.boundary()};
    hwv_msrs msrs{8, HWV_MSRS_SET, reinterpret_cast<std::uint64_t>(entries)};
    raw::call(any_fd(r), HWV_MSRS, &msrs);
}

void run(Random &r) {
    const int fd = any_fd(r);
    void *page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) return;
    auto *shared = static_cast<hwv_run *>(page);
    for (unsigned i = 0; i < 8; ++i) {
        shared->reply = {.flags = r.one_in(4) ? static_cast<std::uint32_t>(r.boundary()) : 0,
                         .dirty = r.one_in(3) ? static_cast<std::uint32_t>(r.below(32)) : 0,
                         .wanted = static_cast<std::uint32_t>(r.below(32)),
                         .extint_vector = static_cast<std::uint8_t>(r.next()),
                         .data = r.next()};
        if (r.one_in(2))
            reinterpret_cast<std::uint64_t *>(&shared->regs)[r.below(sizeof(hwv_regs) / 8)] =
                r.boundary();
        raw::call(fd, r.one_in(4) ? HWV_SYNC_REGS : HWV_RUN);
    }
    ::munmap(page, 4096);
}

void inherit(Random &r, Arena &arena) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        for (int i = 0; i < 16; ++i)
            any_call(r, arena);
        std::_Exit(0);
    }
    if (pid > 0) ::waitpid(pid, nullptr, 0);
}

void one_step(Random &r, Arena &arena) {
    switch (r.below(16)) {
    case 0: keep(r, ::open("/dev/hwv", O_RDWR | O_CLOEXEC)); return;
    case 1: {
        hwv_create_vm request{.flags = r.one_in(2) ? 0 : r.below(32), .name = "fuzz"};
        if (request.flags & HWV_VM_RIDE) request.kvm_fd = any_fd(r);
        keep(r, raw::call(any_fd(r), HWV_CREATE_VM, &request));
        return;
    }
    case 2:
    case 3: {
        hwv_create_vcpu request{.id = static_cast<std::uint32_t>(r.below(3))};
        keep_vcpu(r, raw::call(any_fd(r), HWV_CREATE_VCPU, &request));
        return;
    }
    case 4: set_memory(r); return;
    case 5: set_msrs(r, arena); return;
    case 6:
    case 7:
    case 8: run(r); return;
    case 9:
        if (r.one_in(32)) inherit(r, arena);
        if (r.one_in(8)) keep(r, ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
        if (r.one_in(4)) keep(r, attach(id_of_last_vm() - r.below(3)));
        return;
    case 10:
        ::madvise(guest_memory + (r.below(256) << 12), 4096, MADV_DONTNEED);
        guest_memory[r.below(guest_bytes)] = static_cast<char>(r.next());
        return;
    default: any_call(r, arena);
    }
}

void prepare(Random &r) {
    guest_memory = static_cast<char *>(
        ::mmap(nullptr, guest_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (std::size_t i = 0; i < guest_bytes; i += 8)
        *reinterpret_cast<std::uint64_t *>(guest_memory + i) = r.next();
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGUSR1, &action, nullptr);
    for (auto &fd : pool)
        fd = -1;
    for (unsigned i = 0; i < 2; ++i) {
        const int vm = raw::create_vm(r.below(16));
        keep_vcpu(r, raw::create_vcpu(vm));
        keep(r, vm);
    }
}

// Ends by itself when its parent kills it; guests that run for ever are ended by signals and kicks.
void round_of(Random &r) {
    prepare(r);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 3; ++i)
        threads.emplace_back([own = Random{r.next()}]() mutable {
            fuzz::leave_a_cpu();
            Arena arena;
            for (int n = 0; n < 4000; ++n)
                one_step(own, arena);
        });
    for (;;) {
        ::usleep(2000);
        for (auto &thread : threads)
            ::pthread_kill(thread.native_handle(), SIGUSR1);
        for (auto &fd : pool)
            raw::call(fd, HWV_KICK);
    }
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("fuzz.ioctl_sequences", "this machine cannot run guests");
        return 0;
    }
    fuzz::arm();
    report("fuzz.ioctl_sequences.killable", fuzz::rounds(fuzz::seconds(8), 1.5, round_of),
           "a process cannot be killed");
    report("fuzz.ioctl_sequences.guest_still_runs", fuzz::guest_still_runs(),
           "a new VM does not work");
    const std::string line = fuzz::complaint();
    report("fuzz.ioctl_sequences.log_clean", line.empty(), line);
    return verdict();
}
