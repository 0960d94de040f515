// SPDX-License-Identifier: GPL-2.0-only
// timeout: 120
// bed: --smp 2
// A VM of three vCPUs on two CPUs: statistics, rings and rules are exact for each of them and for
// all together; a pause stops all, a stop one alone.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <poll.h>
#include <thread>
#include "module/report.hpp"
#include "module/watched.hpp"
#include "oracle/test_vm.hpp"

namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;

constexpr unsigned vcpus = 3;
constexpr long rounds = 5;
constexpr std::uint64_t storm =
    1ull << HWV_EXIT_CPUID | 1ull << HWV_EXIT_MSR_READ | 1ull << HWV_EXIT_HYPERCALL;

// Of each vCPU: how many of each exit it makes in a round, and which leaf it asks for.
constexpr long times(unsigned vcpu) { return 200 + 100 * vcpu; }
constexpr std::uint64_t leaf(unsigned vcpu) { return vcpu + 1; }

// start: mov esi, edi        ; times
// next:  mov eax, ebp        ; leaf
//        cpuid
//        mov ecx, 0x1b
//        rdmsr
//        mov eax, 100
//        vmcall or vmmcall
//        dec esi
//        jnz next
//        out 0x21, al
//        jmp start
std::string exits() {
    return "\x66\x89\xfe\x66\x89\xe8\x0f\xa2\x66\xb9\x1b\x00\x00\x00\x0f\x32"
           "\x66\xb8\x64\x00\x00\x00\x0f\x01"s +
           (oracle::on_intel() ? "\xc1" : "\xd9") + "\x66\x4e\x75\xe6\xe6\x21\xeb\xdf"s;
}

class Several : public Guest {
  public:
    explicit Several(const std::string &program) : Guest{program} {
        prepare(run, 0);
        for (unsigned id = 1; id < vcpus; ++id)
            prepare(further_[id - 1].run, id);
    }
    ~Several() { join(); }
    // Each in a thread of its own, so many rounds or until one fails.
    void start(long n = rounds) {
        for (unsigned id = 0; id < vcpus; ++id)
            threads_[id] = std::thread([this, id, n] {
                long result = 0;
                for (long i = 0; i < n && result == 0; ++i)
                    result = raw::call(id ? further_[id - 1].fd : vcpu, HWV_RUN);
                results[id] = result;
            });
    }
    void join(unsigned id) {
        if (threads_[id].joinable()) threads_[id].join();
    }
    void join() {
        for (unsigned id = 0; id < vcpus; ++id)
            join(id);
    }
    static constexpr long running = 1;
    std::atomic<long> results[vcpus] = {running, running, running};

  private:
    static void prepare(hwv_run *page, unsigned id) {
        page->regs.rip = 0xfff0;
        page->regs.rflags = 2;
        page->regs.gpr[HWV_RDI] = static_cast<std::uint64_t>(times(id));
        page->regs.gpr[HWV_RBP] = leaf(id);
        page->reply.dirty |= HWV_REGS_GPR;
    }
    FurtherVcpu further_[vcpus - 1] = {{*this, 1}, {*this, 2}};
    std::thread threads_[vcpus];
};

std::string named(const char *what, unsigned vcpu) { return what + ("_"s + std::to_string(vcpu)); }

long count(const hwv_vcpu_stats *s, unsigned reason) {
    return static_cast<long>(s->exit[reason].count) + (s->open_reason == reason);
}

long key_count(const hwv_vcpu_stats *s, std::uint64_t reason, std::uint64_t key) {
    for (const hwv_key_stats &k : s->key)
        if (k.tag == (reason << 56 | key)) return static_cast<long>(k.count);
    return 0;
}

void check_vcpu(const Several &guest, const hwv_vcpu_stats *s, unsigned id) {
    const long wanted = rounds * times(id);
    expect(named("ran", id), guest.results[id], 0);
    expect(named("cpuids", id), count(s, HWV_EXIT_CPUID), wanted);
    expect(named("rdmsrs", id), count(s, HWV_EXIT_MSR_READ), wanted);
    expect(named("hypercalls", id), count(s, HWV_EXIT_HYPERCALL), wanted);
    expect(named("outs", id), count(s, HWV_EXIT_IO), rounds);
    expect(named("own_leaf", id), key_count(s, HWV_EXIT_CPUID, leaf(id)), wanted);
    std::uint64_t cycles = 0;
    for (const hwv_segment_stats &segment : s->segment)
        cycles += segment.cycles;
    expect(named("segments", id), static_cast<long>(cycles),
           static_cast<long>(s->last_tsc - s->first_tsc));
}

void check_statistics() {
    Several guest{exits()};
    Ruler observer{guest};
    expect("rules_set",
           observer.set({rule(HWV_EXIT_CPUID), rule(HWV_EXIT_MSR_READ), rule(HWV_EXIT_HYPERCALL)}),
           0);
    const hwv_vcpu_stats *stats[vcpus];
    for (unsigned id = 0; id < vcpus; ++id)
        stats[id] = observer.stats(id);
    guest.start();
    guest.join();
    long all = 0;
    for (unsigned id = 0; id < vcpus; ++id) {
        check_vcpu(guest, stats[id], id);
        all += rounds * times(id);
    }
    for (unsigned n = 0; n < 3; ++n)
        expect(named("rule_matched_all", n), static_cast<long>(observer.counts(n).matched), all);
}

long wrong_records(const hwv_ring *ring, unsigned vcpu) {
    const auto *records = reinterpret_cast<const hwv_record *>(
        reinterpret_cast<const char *>(ring) + HWV_RING_HEADER);
    long wrong = 0;
    for (std::uint64_t i = 0; i < ring->head; ++i)
        wrong += records[i].sequence != i || records[i].vcpu != vcpu ||
                 (records[i].reason == HWV_EXIT_CPUID && records[i].key != leaf(vcpu));
    return wrong;
}

// One ring drops, one is large enough, one makes its vCPU wait for the reader.
void check_rings() {
    Several guest{exits()};
    Observer observer{guest};
    const hwv_ring *drops = observer.open_ring(64, 0, storm, 0, 0),
                   *large = observer.open_ring(1 << 14, 0, storm, 0, 1);
    hwv_ring *blocks = observer.open_ring(64, HWV_RING_BLOCK, storm, 0, 2);
    guest.start();
    pollfd wait{.fd = observer.fd, .events = POLLIN, .revents = 0};
    while (guest.results[2] == Several::running) {
        __atomic_store_n(&blocks->tail, __atomic_load_n(&blocks->head, __ATOMIC_ACQUIRE),
                         __ATOMIC_RELEASE);
        ::poll(&wait, 1, 1);
        std::this_thread::sleep_for(1ms);
    }
    guest.join();
    const hwv_ring *rings[] = {drops, large, blocks};
    for (unsigned id = 0; id < vcpus; ++id) {
        const long all = rounds * 3 * times(id);
        expect(named("ring_ran", id), guest.results[id], 0);
        expect(named("ring_and_drops", id), static_cast<long>(rings[id]->head + rings[id]->dropped),
               all);
        expect(named("ring_matched", id), static_cast<long>(rings[id]->matched), all);
    }
    expect("ring_kept", static_cast<long>(drops->head), 64);
    expect("ring_kept_all", static_cast<long>(large->dropped + blocks->dropped), 0);
    report("ring_waited", blocks->blocked > 0);
    expect("ring_own_records_dropping", wrong_records(drops, 0), 0);
    expect("ring_own_records", wrong_records(large, 1), 0);
}

long entries(const hwv_vcpu_stats *s) {
    return static_cast<long>(__atomic_load_n(&s->entries, __ATOMIC_RELAXED));
}

bool goes_beyond(const hwv_vcpu_stats *s, long n) {
    for (int i = 0; i < 5000 && entries(s) <= n; ++i)
        std::this_thread::sleep_for(1ms);
    return entries(s) > n;
}

void check_pause() {
    Several guest{raw::loop_for_ever};
    Observer observer{guest};
    const hwv_vcpu_stats *stats[vcpus];
    for (unsigned id = 0; id < vcpus; ++id)
        stats[id] = observer.stats(id);
    guest.start();
    for (unsigned id = 0; id < vcpus; ++id)
        report(named("runs", id), goes_beyond(stats[id], 0));
    expect("pause", raw::call(observer.fd, HWV_PAUSE), 0);
    long before[vcpus];
    for (unsigned id = 0; id < vcpus; ++id)
        before[id] = entries(stats[id]);
    std::this_thread::sleep_for(30ms);
    for (unsigned id = 0; id < vcpus; ++id)
        expect(named("stands_still", id), entries(stats[id]), before[id]);
    expect("resume", raw::call(observer.fd, HWV_RESUME), 0);
    for (unsigned id = 0; id < vcpus; ++id)
        report(named("goes_on", id), goes_beyond(stats[id], before[id]));
    expect("kill", raw::call(observer.fd, HWV_KILL), 0);
    guest.join();
    for (unsigned id = 0; id < vcpus; ++id)
        expect(named("killed", id), guest.results[id], -ESHUTDOWN);
}

// The others do not wait for one that stands.
void check_stop() {
    constexpr unsigned stopped = 1;
    Several guest{exits()};
    Ruler observer{guest};
    const hwv_vcpu_stats *s = observer.stats(stopped);
    const hwv_rule stops = rule(HWV_EXIT_CPUID, HWV_ACTION_STOP, leaf(stopped));
    expect("stop_set", observer.set({stops}, 100'000), 0);
    guest.start();
    hwv_stop stop{};
    pollfd wait{.fd = observer.fd, .events = POLLPRI, .revents = 0};
    ::poll(&wait, 1, 30'000);
    expect("stop_get", raw::call(observer.fd, HWV_STOP_GET, &stop), 0);
    expect("stop_vcpu", stop.vcpu, stopped);
    guest.join(0);
    guest.join(2);
    expect("stop_first_ran", guest.results[0], 0);
    expect("stop_last_ran", guest.results[2], 0);
    expect("stop_still", guest.results[stopped], Several::running);
    expect("stop_before_it", count(s, HWV_EXIT_MSR_READ), 0);
    expect("stop_rules_go", observer.set({}), 0);
    const hwv_stop_reply reply{.id = stop.id, .action = HWV_STOP_PASS};
    expect("stop_reply", raw::call(observer.fd, HWV_STOP_REPLY, &reply), 0);
    guest.join();
    expect("stop_ran", guest.results[stopped], 0);
    expect("stop_cpuids", count(s, HWV_EXIT_CPUID), rounds * times(stopped));
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("several_vcpus", "this machine cannot run guests");
        return 0;
    }
    check_statistics();
    check_rings();
    check_pause();
    check_stop();
    return verdict();
}
