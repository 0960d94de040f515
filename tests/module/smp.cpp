// SPDX-License-Identifier: GPL-2.0-only
// timeout: 120
// bed: --smp 2
// Two vCPUs that a guest starts as firmware would: messages between them cost no exit to user and
// are counted exactly, their time stamp counters are in step whatever the guest writes, one that
// waits for the other gives it its CPU, and one that is halted shows it.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <sched.h>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <x86intrin.h>
#include "conformance/guest.hpp"
#include "module/raw.hpp"
#include "module/report.hpp"
#include "oracle/test_vm.hpp"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t icr = 0x830, eoi = 0x80b;

// Words that guest and host share.
enum At : std::size_t {
    counts = 0x700, // of interrupts, by vCPU
    times = 0x708,
    up = 0x70c,
    adjust = 0x710,
    turn = 0x718,
    preempted = 0x4010, // of the record at 0x4000
};

// clang-format off
#define APIC_ON "mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n" \
                "mov $0x80f, %ecx\n mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n"
#define SEND(to, what) "mov $0x830, %ecx\n mov $" to ", %edx\n mov $" what ", %eax\n wrmsr\n"
// clang-format on

// Stacks are touched first: Bochs forgets the vector of an interrupt that it delivers itself
// (APICv) where the frame meets an EPT violation. The boot processor's start, at 0x2000: the other
// one begins at 0x1000.
#define START                                                                                      \
    "mov $0x8000, %esp\n push %ax\n pop %ax\n" APIC_ON SEND("1", "0x4500")                         \
        SEND("1", "0x4601") "1: pause\n cmpl $0, 0x70c\n je 1b\n"
// The other one's, which begins in segment 0x100.
#define BEGIN ".byte 0xea\n .word 0x1005, 0\n mov $0x9000, %esp\n push %ax\n pop %ax\n" APIC_ON
#define UP "movl $1, 0x70c\n"

GUEST_PART(ping, 16,
           START
           "sti\n mov 0x708, %esi\n"
           "2: mov 0x700, %edi\n" SEND("1",
                                       "0x4040") "3: cmp %edi, 0x700\n je 3b\n"
                                                 "dec %esi\n jnz 2b\n out %al, $0x11\n 4: jmp 4b\n")
GUEST_PART(pong, 16, BEGIN UP "sti\n 1: hlt\n jmp 1b\n")
// At 0x3000: counts, ends the interrupt, and the other one answers.
GUEST_PART(
    handler, 16,
    "mov $0x802, %ecx\n rdmsr\n mov %ax, %bx\n shl $2, %bx\n incl 0x700(%bx)\n"
    "mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n test %bx, %bx\n jz 1f\n" SEND(
        "0", "0x4040") "1: iret\n")
GUEST_PART(wakes, 16,
           START "sti\n out %al, $0x10\n" SEND(
               "1", "0x4040") "2: cmpl $0, 0x700\n je 2b\n out %al, $0x11\n 3: jmp 3b\n")
GUEST_PART(sleeps, 16,
           BEGIN "mov $0x4b564d03, %ecx\n mov $0x4001, %eax\n xor %edx, %edx\n wrmsr\n" UP
                 "sti\n 1: hlt\n jmp 1b\n")
// Reads for ever; before that, the boot processor writes its TSC and tells by how much it moved.
GUEST_PART(sampled, 16,
           "mov $0x10, %ecx\n mov $0x1234, %eax\n mov $0x56, %edx\n wrmsr\n"
           "mov $0x3b, %ecx\n rdmsr\n mov %eax, 0x710\n mov %edx, 0x714\n" START
           "2: rdtsc\n out %al, $0x80\n jmp 2b\n")
GUEST_PART(sampled_too, 16,
           BEGIN "mov $0x3b, %ecx\n mov 0x710, %eax\n mov 0x714, %edx\n wrmsr\n" UP
                 "2: rdtsc\n out %al, $0x80\n jmp 2b\n")
// Whose turn it is not waits, and gives way meanwhile.
#define TURNS(mine, others, call)                                                                  \
    "2: mov $11, %eax\n mov $" others ", %ebx\n cmpl $" mine ", 0x718\n je 3f\n" call " jmp 2b\n"  \
    "3: movl $" others ", 0x718\n decl 0x708\n jns 2b\n 4: out %al, $0x11\n jmp 4b\n"
GUEST_PART(turns, 16, START "sti\n" TURNS("0", "1", "vmmcall\n"))
GUEST_PART(turns_too, 16, BEGIN UP "sti\n" TURNS("1", "0", "vmmcall\n"))
GUEST_PART(turns_intel, 16, START "sti\n" TURNS("0", "1", "vmcall\n"))
GUEST_PART(turns_too_intel, 16, BEGIN UP "sti\n" TURNS("1", "0", "vmcall\n"))
GUEST_PART(pauses, 16, START "sti\n" TURNS("0", "1", "pause\n"))
GUEST_PART(pauses_too, 16, BEGIN UP "sti\n" TURNS("1", "0", "pause\n"))

#define CODE(name)                                                                                 \
    std::string { guest_##name##_16, guest_##name##_16_end }

class Pair {
  public:
    Pair(const std::string &first, const std::string &second) {
        raw::map_program(vm_, {"\xea\x00\x20\x00\x00", 5}); // jmp 0:0x2000
        low_ = static_cast<char *>(
            ::mmap(nullptr, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        put(0x1000, second);
        put(0x2000, first);
        put(0x3000, CODE(handler));
        const std::uint16_t entry[2] = {0x3000, 0};
        std::memcpy(low_ + 4 * 0x40, entry, sizeof entry);
        const hwv_memory slot{
            .slot = 1, .size = 0x10000, .hva = reinterpret_cast<std::uint64_t>(low_)};
        raw::call(vm_, HWV_SET_MEMORY, &slot);
    }
    ~Pair() {
        for (unsigned id : {0, 1})
            if (threads_[id].joinable()) {
                raw::call(vcpus[id], HWV_KICK);
                threads_[id].join();
            }
        for (unsigned id : {0, 1}) {
            ::munmap(runs[id], HWV_RUN_PAGE_SIZE);
            ::close(vcpus[id]);
        }
        ::close(vm_);
        ::munmap(low_, 0x10000);
    }
    // In a thread of its own, on `cpu`, until it leaves to user.
    void start(unsigned id, int cpu) {
        threads_[id] = std::thread([this, id, cpu] {
            cpu_set_t set;
            CPU_ZERO(&set);
            CPU_SET(cpu, &set);
            ::sched_setaffinity(0, sizeof set, &set);
            raw::call(vcpus[id], HWV_RUN);
            if (lost(id)) raw::call(vcpus[1 - id], HWV_KICK); // it would wait for ever
        });
    }
    // QEMU has left L1's own registers where the guest's belong (scripts/bedlib/README.md): this
    // guest has no address in the upper half.
    bool lost() const { return lost(0) || lost(1); }
    void join(unsigned id) { threads_[id].join(); } // then it may start again
    std::uint32_t word(std::size_t at) const {
        return __atomic_load_n(reinterpret_cast<std::uint32_t *>(low_ + at), __ATOMIC_ACQUIRE);
    }
    void set(std::size_t at, std::uint32_t value) {
        __atomic_store_n(reinterpret_cast<std::uint32_t *>(low_ + at), value, __ATOMIC_RELEASE);
    }
    bool becomes(std::size_t at, std::uint32_t value) const {
        for (int i = 0; i < 5000 && word(at) != value; ++i)
            std::this_thread::sleep_for(1ms);
        return word(at) == value;
    }
    hwv_vcpu_stats stats(unsigned id) const {
        hwv_vcpu_stats s{};
        raw::read_stats(vcpus[id], &s);
        return s;
    }

  private:
    bool lost(unsigned id) const { return runs[id]->exit.rip >> 63; }
    void put(std::size_t at, const std::string &code) {
        std::memcpy(low_ + at, code.data(), code.size());
    }
    int vm_ = raw::create_vm();
    char *low_ = nullptr;
    std::thread threads_[2];

  public:
    int vcpus[2] = {raw::create_vcpu(vm_, 0), raw::create_vcpu(vm_, 1)};
    hwv_run *runs[2] = {raw::map_run(vcpus[0]), raw::map_run(vcpus[1])};
};

long writes(const hwv_vcpu_stats &s, std::uint64_t msr) {
    for (const hwv_key_stats &k : s.key)
        if (k.tag == (std::uint64_t{HWV_EXIT_MSR_WRITE} << 56 | msr))
            return static_cast<long>(k.count);
    return 0;
}

long to_user(const hwv_vcpu_stats &s) {
    long sum = 0;
    for (const hwv_exit_stats &e : s.exit)
        sum += static_cast<long>(e.to_user);
    return sum;
}

bool feature(std::uint64_t which) {
    hwv_info info{};
    const int device = raw::open_device();
    raw::call(device, HWV_GET_INFO, &info);
    ::close(device);
    return info.features & which;
}

bool check_messages() {
    constexpr long n = 1000;
    Pair pair{CODE(ping), CODE(pong)};
    pair.set(times, n);
    pair.start(1, 1);
    pair.start(0, 0);
    pair.join(0);
    if (pair.lost()) return false;
    expect("ipi/sender_ends_by_out", pair.runs[0]->exit.reason, HWV_EXIT_IO);
    expect("ipi/answers", pair.word(counts), n);
    expect("ipi/arrivals", pair.word(counts + 4), n);
    const hwv_vcpu_stats first = pair.stats(0), second = pair.stats(1);
    expect("ipi/sent", writes(first, icr), n + 2); // and INIT and SIPI
    expect("ipi/sent_back", writes(second, icr), n);
    expect("ipi/sender_to_user", to_user(first), 1); // its OUT
    expect("ipi/receiver_to_user", to_user(second), 0);
    if (feature(HWV_FEATURE_APICV)) {
        skip("ipi/ended", "the CPU ends interrupts itself");
        return true;
    }
    expect("ipi/ended", writes(first, eoi), n);
    expect("ipi/ended_there", writes(second, eoi), n);
    return true;
}

// What guest TSC less host TSC may be, by readings around the guest's.
struct Offset {
    std::int64_t least = INT64_MIN, most = INT64_MAX;
};

Offset offset_of(const Pair &pair, unsigned id) {
    Offset offset;
    for (int i = 0; i < 300; ++i) {
        pair.runs[id]->reply.wanted = HWV_REGS_GPR;
        const std::uint64_t before = __rdtsc();
        if (raw::call(pair.vcpus[id], HWV_RUN) != 0) continue;
        const std::uint64_t after = __rdtsc();
        const auto *gpr = pair.runs[id]->regs.gpr;
        const std::uint64_t guest = gpr[HWV_RDX] << 32 | (gpr[HWV_RAX] & 0xffff'ffff);
        if (i < 10) continue; // pages come in
        offset.least = std::max(offset.least, static_cast<std::int64_t>(guest - after));
        offset.most = std::min(offset.most, static_cast<std::int64_t>(guest - before));
    }
    return offset;
}

bool check_tsc() {
    Pair pair{CODE(sampled), CODE(sampled_too)};
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(0, &here);
    ::sched_setaffinity(0, sizeof here, &here);
    pair.start(0, 0); // until both read: the boot processor waits for the other one
    pair.start(1, 0);
    pair.join(0);
    pair.join(1);
    const Offset first = offset_of(pair, 0), second = offset_of(pair, 1);
    if (pair.lost()) return false;
    const std::string said = std::to_string(first.least) + ".." + std::to_string(first.most) +
                             ", " + std::to_string(second.least) + ".." +
                             std::to_string(second.most);
    constexpr std::int64_t sharp = 500'000;
    report("tsc/sharply_seen",
           first.most - first.least < sharp && second.most - second.least < sharp, said);
    report("tsc/in_step", first.least <= second.most && second.least <= first.most, said);
    hwv_msr_entry written{.index = 0x3b};
    hwv_msrs read{1, 0, reinterpret_cast<std::uint64_t>(&written)};
    expect("tsc/adjusted", raw::call(pair.vcpus[1], HWV_MSRS, &read), 1);
    expect("tsc/by_as_much", static_cast<long>(written.value & 0xffff'ffff), pair.word(adjust));
    return true;
}

// What a turn of two takes that share one CPU. None: the guest is lost.
std::optional<std::chrono::microseconds> turn_time(const std::string &first,
                                                   const std::string &second) {
    constexpr std::uint32_t n = 200;
    Pair pair{first, second};
    pair.set(times, n);
    pair.start(1, 0);
    pair.start(0, 0);
    if (!pair.becomes(up, 1)) return {};
    const auto begin = Clock::now();
    pair.join(0);
    if (pair.lost()) return {};
    return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin) / n;
}

// Without giving way each takes what the scheduler lets a thread run. A machine with other work may
// take that once, not every time.
bool check_turns(const char *name, const std::string &first, const std::string &second) {
    auto shortest = std::chrono::microseconds::max();
    for (int i = 0; i < 5 && shortest > 2ms; ++i) {
        const auto took = turn_time(first, second);
        if (!took) return false;
        shortest = std::min(shortest, *took);
    }
    report(std::string{name} + "/turns_are_short", shortest <= 2ms,
           std::to_string(shortest.count()) + " us each");
    return true;
}

// The steal time record of one that waits in HLT says so; what another one leaves there then is
// gone when it has run again.
bool check_absence() {
    constexpr std::uint32_t away = 1, note = 2;
    Pair pair{CODE(wakes), CODE(sleeps)};
    pair.start(1, 1);
    pair.start(0, 0);
    pair.join(0);
    const bool shown = pair.becomes(preempted, away);
    pair.set(preempted, away | note);
    pair.start(0, 0);
    pair.join(0);
    const bool taken = pair.becomes(preempted, away);
    if (pair.lost()) return false;
    report("absence/is_shown", shown);
    expect("absence/has_run", pair.word(counts + 4), 1);
    report("absence/note_is_taken", taken);
    expect("absence/record_is_whole", pair.word(preempted - 8) & 1, 0);
    return true;
}

// `check` says false, and has reported nothing, where QEMU lost a guest.
template <typename Check>
void repeat(const char *name, const Check &check) {
    for (int i = 0; i < 5; ++i)
        if (check()) return;
    report(std::string{name} + "/guest_is_lost", false);
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("smp", "this machine cannot run guests");
        return 0;
    }
    repeat("ipi", check_messages);
    repeat("tsc", check_tsc);
    repeat("absence", check_absence);
    repeat("hypercall", [] {
        return oracle::on_intel()
                   ? check_turns("hypercall", CODE(turns_intel), CODE(turns_too_intel))
                   : check_turns("hypercall", CODE(turns), CODE(turns_too));
    });
    if (feature(HWV_FEATURE_PAUSE_FILTER))
        repeat("pause", [] { return check_turns("pause", CODE(pauses), CODE(pauses_too)); });
    else
        skip("pause/turns_are_short", "this CPU does not see loops of PAUSE");
    return verdict();
}
