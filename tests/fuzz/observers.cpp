// SPDX-License-Identifier: GPL-2.0-only
// timeout: 240
// bed: --smp 2
// Observers at a VM that runs: rules, exit programs, rings, stops, pauses, registers and memory, as
// they should be but for a word here and there, by threads that know nothing of each other, while
// observers come and go. Nothing that the kernel complains of, that cannot be killed, or that is
// left behind.
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <poll.h>
#include <sys/eventfd.h>
#include <thread>
#include "fuzz/fuzz.hpp"
#include "fuzz/qemu.hpp"
#include "fuzz/watching.hpp"
#include "module/exit_program.hpp"
#include "module/growth.hpp"
#include "module/report.hpp"
#include "module/watched.hpp"

namespace {

using fuzz::Random;
using namespace fuzz::watching;

// What a leak of each round, or of many of its calls, is far above.
constexpr long tolerance = 200;
constexpr std::size_t low_bytes = 1 << 16;

std::atomic<std::uint64_t> vm_id;
std::atomic<int> observers[6];
int programs[8]; // loaded once
Tally *tally;    // shared with the children

// ---- the guest: exits of most kinds, faults that are stepped over ----

//        xor ax,ax;  mov ds,ax;  mov ss,ax;  mov sp,0x8000;  mov dx,0x10;  mov ax,0xa000;  mov
//        gs,ax
// again: sti;  out dx,ax;  in ax,dx;  cpuid;  rdtsc;  mov eax,cr0;  mov cr0,eax;  mov eax,dr7
//        mov ecx,0x277;  rdmsr;  wrmsr;  invlpg [0];  pause;  sgdt [0x100];  ud2;  vmmcall;  vmcall
//        wbinvd;  mov eax,cr3;  mov cr3,eax;  rdtscp;  int3;  hlt;  mov eax,[gs:0x10];  jmp again
const std::string program{
    "\x31\xc0\x8e\xd8\x8e\xd0\xbc\x00\x80\xba\x10\x00\xb8\x00\xa0\x8e\xe8"
    "\xfb\xef\xed\x0f\xa2\x0f\x31\x0f\x20\xc0\x0f\x22\xc0\x0f\x21\xf8"
    "\x66\xb9\x77\x02\x00\x00\x0f\x32\x0f\x30\x0f\x01\x3e\x00\x00\xf3\x90\x0f\x01\x06\x00\x01"
    "\x0f\x0b\x0f\x01\xd9\x0f\x01\xc1"
    "\x0f\x09\x0f\x20\xd8\x0f\x22\xd8\x0f\x01\xf9\xcc\xf4\x65\x66\xa1\x10\x00\xeb\xbe",
    83};
// pop ax;  add ax,2;  push ax;  iret
constexpr char step_over[] = "\x58\x83\xc0\x02\x50\xcf";
constexpr std::uint32_t handler = 0x7000;

struct Machine {
    explicit Machine(Random &r) : vm{raw::create_vm(r.below(16) | HWV_VM_HLT_TO_USER)} {
        code = raw::map_program(vm, program);
        low = static_cast<char *>(
            ::mmap(nullptr, low_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        std::memset(low, 0xf4, low_bytes); // where it strays to, it leaves
        for (unsigned v = 0; v < 32; ++v)
            std::memcpy(low + 4 * v, &handler, sizeof handler);
        std::memcpy(low + handler, step_over, sizeof step_over);
        hwv_memory slot{.slot = 1, .size = low_bytes, .hva = reinterpret_cast<std::uint64_t>(low)};
        raw::call(vm, HWV_SET_MEMORY, &slot);
        for (unsigned n = 0; n < 2; ++n) {
            vcpus[n] = raw::create_vcpu(vm, n);
            fuzz::take_long_mode(vcpus[n]);
            runs[n] = raw::map_run(vcpus[n]);
        }
        vm_id = id_of_last_vm();
    }
    ~Machine() {
        for (unsigned n = 0; n < 2; ++n) {
            ::munmap(runs[n], HWV_RUN_PAGE_SIZE);
            ::close(vcpus[n]);
        }
        ::close(vm);
        ::munmap(low, low_bytes);
    }
    int vm, vcpus[2];
    hwv_run *runs[2];
    void *code;
    char *low;
};

// Until somebody kills the VM. Whatever became of the guest, it begins again now and then.
void run(Random &r, int vcpu, hwv_run *run) {
    fuzz::leave_a_cpu();
    run->reply = {.wanted = HWV_REGS_ALL};
    raw::call(vcpu, HWV_SYNC_REGS);
    hwv_regs start = run->regs;
    start.event.mp_state = HWV_MP_RUNNING;
    bool anew = true;
    for (;;) {
        if (anew) run->regs = start;
        run->reply = {.dirty = anew ? HWV_REGS_ALL : 0u, .data = r.next()};
        const long result = raw::call(vcpu, HWV_RUN);
        ++tally->runs;
        if (result == -ESHUTDOWN) return;
        const std::uint32_t reason = run->exit.reason;
        anew = reason == HWV_EXIT_SHUTDOWN || reason == HWV_EXIT_ERROR ||
               reason == HWV_EXIT_INVALID_STATE || r.one_in(64);
    }
}

void guests(Random &r) {
    for (;;) {
        Machine machine{r};
        const auto one = [&](unsigned n) {
            Random own{r.next() + n};
            const fuzz::Ticker ticker{machine.vcpus[n], 1000};
            run(own, machine.vcpus[n], machine.runs[n]);
        };
        std::thread second{one, 1};
        one(0);
        second.join();
    }
}

// ---- those who look on ----

int any_observer(Random &r) { return observers[r.below(std::size(observers))]; }

void attach_another(Random &r) {
    const auto fd = static_cast<int>(attach(vm_id));
    const int old = observers[r.below(std::size(observers))].exchange(fd);
    if (old >= 0) ::close(old);
    tally->count(tally->attached, fd);
}

void rules(Random &r, int fd) {
    hwv_rule list[8];
    const auto count = static_cast<std::uint32_t>(r.below(5));
    for (unsigned n = 0; n < count; ++n)
        list[n] = any_rule(r);
    hwv_policy policy{.count = count,
                      .stop_timeout_ms = static_cast<std::uint32_t>(1 + r.below(200)),
                      .rules = reinterpret_cast<std::uint64_t>(list)};
    spoil(r, policy);
    tally->count(tally->rules, raw::call(fd, HWV_POLICY_SET, &policy));
    hwv_rule_counts counts[8];
    policy = {.count = static_cast<std::uint32_t>(r.below(9)),
              .rules = reinterpret_cast<std::uint64_t>(list),
              .counts = reinterpret_cast<std::uint64_t>(counts)};
    raw::call(fd, HWV_POLICY_GET, &policy);
}

void exit_programs(Random &r, int fd) {
    hwv_program_entry entries[HWV_MAX_PROGRAMS] = {};
    hwv_program_list list{.count = HWV_MAX_PROGRAMS,
                          .entries = reinterpret_cast<std::uint64_t>(entries)};
    raw::call(fd, HWV_PROGRAM_LIST, &list);
    const std::uint64_t id = list.count ? entries[r.below(list.count)].id : r.below(4);
    if (r.one_in(3)) {
        raw::call(fd, HWV_PROGRAM_DETACH, &id);
        return;
    }
    const bool replace = r.one_in(3);
    hwv_program_attach request{.fd = programs[r.below(std::size(programs))],
                               .flags = replace ? HWV_PROGRAM_REPLACE : 0u,
                               .reasons = any_reasons(r),
                               .id = replace ? id : 0};
    spoil(r, request);
    tally->count(tally->programs, raw::call(fd, HWV_PROGRAM_ATTACH, &request));
}

// A vCPU that waits for one of them is answered, or one that does not.
void stops(Random &r, int fd) {
    hwv_stop stop{.id = r.below(100)};
    for (const std::atomic<int> &observer : observers)
        if (raw::call(observer, HWV_STOP_GET, &stop) == 0) fd = observer;
    if (r.one_in(4)) return;
    hwv_stop_reply reply{.id = stop.id,
                         .action = static_cast<std::uint32_t>(r.below(4)),
                         .vector = static_cast<std::uint8_t>(r.one_in(2) ? 6 : 13),
                         .value = {r.next(), r.boundary()}};
    reply.has_error_code = reply.vector == 13;
    spoil(r, reply);
    tally->count(tally->replies, raw::call(fd, HWV_STOP_REPLY, &reply));
}

// Only their reader knows what is in them.
struct Ring {
    volatile hwv_ring *at = nullptr;
    std::size_t bytes = 0;
};

void unmap(Ring &ring) {
    if (ring.at) ::munmap(const_cast<hwv_ring *>(ring.at), ring.bytes);
    ring = {};
}

void open_ring(Random &r, int fd, Ring &ring) {
    hwv_ring_open request{.vcpu = static_cast<std::uint32_t>(r.below(2)),
                          .flags = static_cast<std::uint32_t>(r.below(4)),
                          .capacity = 64ull << r.below(4),
                          .reasons = r.one_in(2) ? ~0ull : r.next(),
                          .every = static_cast<std::uint32_t>(r.below(4))};
    const std::size_t bytes = HWV_RING_HEADER + request.capacity * sizeof(hwv_record);
    const auto where = static_cast<off_t>(HWV_MAP(HWV_MAP_RING, request.vcpu));
    spoil(r, request);
    tally->count(tally->rings, raw::call(fd, HWV_RING_OPEN, &request));
    unmap(ring);
    void *at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, where);
    if (at != MAP_FAILED) ring = {static_cast<volatile hwv_ring *>(at), bytes};
}

// By an eventfd that nobody reads, by another file, or by none.
void be_signalled(Random &r, int fd) {
    const int event = ::eventfd(0, EFD_CLOEXEC);
    const int other = static_cast<int>(r.below(64)) - 1;
    const hwv_observe_eventfd request{.fd = r.one_in(4) ? other : event, .flags = r.one_in(8)};
    raw::call(fd, HWV_OBSERVE_EVENTFD, &request);
    ::close(event);
}

void use_ring(Random &r, int fd, Ring &ring) {
    const auto vcpu = static_cast<std::uint32_t>(r.below(r.one_in(8) ? 200 : 2));
    if (r.one_in(4)) open_ring(r, fd, ring);
    if (r.one_in(8)) raw::call(fd, HWV_RING_CLOSE, &vcpu);
    if (r.one_in(8)) unmap(ring);
    if (r.one_in(8)) be_signalled(r, fd);
    if (!ring.at) return;
    tally->records += ring.at->head - ring.at->tail < 1024 ? ring.at->head - ring.at->tail : 0;
    auto *words = reinterpret_cast<volatile std::uint64_t *>(ring.at);
    if (r.one_in(4))
        words[r.below(r.one_in(2) ? 64 : ring.bytes / 8)] = r.boundary();
    else
        ring.at->tail = ring.at->head;
    pollfd ready{.fd = fd, .events = POLLIN | POLLPRI, .revents = 0};
    ::poll(&ready, 1, 0);
}

void registers(Random &r, int fd) {
    hwv_regs regs;
    hwv_observe_regs request{.vcpu = static_cast<std::uint32_t>(r.below(2)),
                             .groups = static_cast<std::uint32_t>(r.below(33)),
                             .bytes = sizeof regs,
                             .regs = reinterpret_cast<std::uint64_t>(&regs)};
    tally->count(tally->registers, raw::call(fd, HWV_OBSERVE_REGS, &request));
    reinterpret_cast<std::uint64_t *>(&regs)[1 + r.below(sizeof regs / 8 - 1)] = r.boundary();
    request.flags = HWV_OBSERVE_SET;
    spoil(r, request);
    request.regs = reinterpret_cast<std::uint64_t>(&regs);
    raw::call(fd, HWV_OBSERVE_REGS, &request);
}

void memory(Random &r, int fd) {
    static thread_local char buffer[1 << 14];
    hwv_observe_memory request{.gpa = r.one_in(4)   ? 0xfffff000 + r.below(0x1000)
                                      : r.one_in(8) ? r.boundary()
                                                    : r.below(low_bytes),
                               .bytes = r.below(sizeof buffer),
                               .buffer = reinterpret_cast<std::uint64_t>(buffer)};
    raw::call(fd, HWV_OBSERVE_MEMORY, &request);
    for (unsigned n = 0; n < 8; ++n)
        buffer[r.below(sizeof buffer)] = static_cast<char>(r.next());
    fuzz::take_breakpoints(buffer, sizeof buffer);
    if (r.one_in(4)) request.flags = HWV_OBSERVE_SET;
    spoil(r, request);
    if (request.bytes <= sizeof buffer) raw::call(fd, HWV_OBSERVE_MEMORY, &request);
}

void pause(Random &r, int fd) {
    raw::call(fd, HWV_PAUSE);
    if (r.one_in(2)) registers(r, fd);
    if (!r.one_in(8)) raw::call(fd, HWV_RESUME);
}

void look_on(Random &r) {
    Ring ring;
    while (!vm_id)
        std::this_thread::yield();
    for (;;) {
        const int fd = any_observer(r);
        switch (r.below(16)) {
        case 0:
        case 1: attach_another(r); break;
        case 2:
        case 3: rules(r, fd); break;
        case 4:
        case 5: exit_programs(r, fd); break;
        case 6:
        case 7:
        case 8: stops(r, fd); break;
        case 9:
        case 10: use_ring(r, fd, ring); break;
        case 11: registers(r, fd); break;
        case 12: memory(r, fd); break;
        case 13: pause(r, fd); break;
        case 14:
            if (r.one_in(200)) raw::call(fd, HWV_KILL);
            break;
        default: any_request(r, fd);
        }
    }
}

// For ever: its parent kills it.
void round_of(Random &r) {
    for (auto &fd : observers)
        fd = -1;
    std::vector<std::thread> threads;
    for (unsigned n = 0; n < 3; ++n)
        threads.emplace_back([own = Random{r.next()}]() mutable { look_on(own); });
    guests(r);
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("fuzz.observers", "this machine cannot run guests");
        return 0;
    }
    fuzz::arm();
    std::ofstream{"/sys/kernel/rcu_expedited"} << 1
                                               << std::flush; // what observers end waits for it
    tally = static_cast<Tally *>(
        ::mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    load_programs(programs);
    fuzz::rounds(1, 1, round_of); // warms up
    growth::read();
    const growth::Counters before = growth::read();
    report("fuzz.observers.killable", fuzz::rounds(fuzz::seconds(10), 1.5, round_of),
           "a process cannot be killed");
    tally->print();
    report("fuzz.observers.both_ways", tally->all_both_ways(), "all taken or all refused");
    const auto [name, more] = growth::worst(before, tolerance);
    report("fuzz.observers.nothing_is_left", more < tolerance,
           name + " grew by " + std::to_string(more));
    expect("fuzz.observers.module_references", growth::module_references(), 0);
    report("fuzz.observers.guest_still_runs", fuzz::guest_still_runs(), "a new VM does not work");
    const std::string line = fuzz::complaint();
    report("fuzz.observers.log_clean", line.empty(), line);
    return verdict();
}
