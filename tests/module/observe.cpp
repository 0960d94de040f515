// SPDX-License-Identifier: GPL-2.0-only
// timeout: 90
// bed: --smp 2
// A VM watched and steered through an observer's fd: what is counted and recorded is exact, what is
// stopped goes on, and the observer's end undoes what it did.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>
#include "module/report.hpp"
#include "module/watched.hpp"

namespace {

using namespace std::chrono_literals;

// start: mov  esi, n
// next:  mov  eax, 1
//        cpuid
//        dec  esi
//        jnz  next
//        out  0x21, al
//        jmp  start
std::string cpuids(std::uint32_t n) {
    std::string program{
        "\x66\xbe____\x66\xb8\x01\x00\x00\x00\x0f\xa2\x66\x4e\x75\xf4\xe6\x21\xeb\xea", 22};
    std::memcpy(program.data() + 2, &n, sizeof n);
    return program;
}
constexpr std::uint64_t cpuid_rip = 0xf000 + 12;

hwv_record record(const hwv_ring *ring, std::uint64_t n) {
    const auto *records = reinterpret_cast<const hwv_record *>(
        reinterpret_cast<const char *>(ring) + HWV_RING_HEADER);
    return records[n % ring->capacity];
}

std::uint64_t key_count(const hwv_vcpu_stats &s, hwv_exit_reason reason, std::uint64_t key) {
    for (const hwv_key_stats &k : s.key)
        if (k.tag == (std::uint64_t{reason} << 56 | key)) return k.count;
    return 0;
}

void check_list() {
    Guest guest{cpuids(1)};
    const int device = raw::open_device();
    hwv_vm_entry entries[64] = {};
    hwv_vm_list list{.count = 64, .entries = reinterpret_cast<std::uint64_t>(entries)};
    expect("list", raw::call(device, HWV_LIST_VMS, &list), 0);
    const hwv_vm_entry &last = entries[list.count - 1];
    report("list_says_name", std::string{last.name} == "test");
    expect("list_says_pid", last.pid, ::getpid());
    expect("list_says_vcpus", static_cast<long>(last.vcpus), 1);
    list.count = 0;
    expect("list_without_room", raw::call(device, HWV_LIST_VMS, &list), -E2BIG);
    expect("list_says_how_many", list.count, 1);
    ::close(device);
}

void check_rights() {
    Guest guest{cpuids(1)};
    expect("attach_to_nothing", attach(guest.id + 1000), -ENOENT);
    const int status = raw::in_child([&] {
        const int device = raw::open_device();
        hwv_attach request{.vm = guest.id};
        if (::setuid(65534) != 0) return 1;
        hwv_vm_list list{};
        return raw::call(device, HWV_ATTACH, &request) == -EPERM &&
                       raw::call(device, HWV_LIST_VMS, &list) == 0 && list.count == 0
                   ? 0
                   : 2;
    });
    expect("others_may_not", status, 0);
    std::vector<int> fds;
    for (int i = 0; i < HWV_MAX_OBSERVERS; ++i)
        fds.push_back(static_cast<int>(attach(guest.id)));
    expect("observers_are_bounded", attach(guest.id), -ENOSPC);
    for (int fd : fds)
        ::close(fd);
    Observer again{guest};
    report("observers_make_room", again.fd >= 0);
}

void check_statistics() {
    constexpr std::uint32_t n = 1000;
    Guest guest{cpuids(n)};
    Observer observer{guest};
    const hwv_vcpu_stats *s = observer.stats();
    report("stats_mapped", s != nullptr);
    if (!s) return;
    expect("stats_run", guest.enter(), 0);
    expect("stats_cpuids", static_cast<long>(s->exit[HWV_EXIT_CPUID].count), n);
    expect("stats_key", static_cast<long>(key_count(*s, HWV_EXIT_CPUID, 1)), n);
    expect("stats_port", static_cast<long>(key_count(*s, HWV_EXIT_IO, 0x21)), 1);
    std::uint64_t cycles = 0, mass = 0;
    for (const hwv_segment_stats &segment : s->segment)
        cycles += segment.cycles;
    for (std::uint64_t bucket : s->exit[HWV_EXIT_CPUID].histogram)
        mass += bucket;
    expect("stats_segments", static_cast<long>(cycles),
           static_cast<long>(s->last_tsc - s->first_tsc));
    expect("stats_mass", static_cast<long>(mass), n);
}

// Runs the guest twice: the second entry closes the record of the first run's OUT.
void check_ring() {
    constexpr std::uint32_t n = 500;
    Guest guest{cpuids(n)};
    Observer observer{guest};
    const hwv_ring *ring = observer.open_ring(4096, 0);
    report("ring_opened", ring != nullptr);
    if (!ring) return;
    expect("ring_twice", observer.open_ring(64, 0) == nullptr, 1);
    expect("ring_run", guest.enter(), 0);
    expect("ring_run_again", guest.enter(), 0);
    long cpuid = 0, out = 0, wrong = 0;
    std::uint64_t last_tsc = 0;
    for (std::uint64_t i = 0; i < ring->head; ++i) {
        const hwv_record r = record(ring, i);
        const bool good = r.sequence == i && r.tsc_exit > last_tsc && r.tsc_entry > r.tsc_exit;
        wrong += !good;
        last_tsc = r.tsc_entry;
        cpuid += r.reason == HWV_EXIT_CPUID && r.rip == cpuid_rip && r.key == 1;
        out += r.reason == HWV_EXIT_IO && r.key == 0x21 && (r.flags & HWV_RECORD_TO_USER);
    }
    expect("ring_in_order", wrong, 0);
    expect("ring_cpuids", cpuid, 2 * n);
    expect("ring_outs", out, 1);
    expect("ring_lost", static_cast<long>(ring->dropped), 0);
}

constexpr std::uint64_t only_cpuid = 1ull << HWV_EXIT_CPUID;

void check_drops() {
    constexpr std::uint32_t n = 300;
    Guest guest{cpuids(n)};
    Observer observer{guest};
    const hwv_ring *ring = observer.open_ring(64, 0, only_cpuid);
    expect("drop_run", guest.enter(), 0);
    expect("drop_kept", static_cast<long>(ring->head), 64);
    expect("drop_counted", static_cast<long>(ring->dropped), n - 64);
    expect("drop_sum", static_cast<long>(ring->matched), n);
}

void check_sample() {
    constexpr std::uint32_t n = 300;
    Guest guest{cpuids(n)};
    Observer observer{guest};
    const hwv_ring *ring = observer.open_ring(64, 0, only_cpuid, 10);
    expect("sample_run", guest.enter(), 0);
    expect("sample_one_of_ten", static_cast<long>(ring->matched), n / 10);
}

// The guest waits for its reader: nothing is lost, however slow he is.
void check_lossless() {
    constexpr std::uint32_t n = 1000;
    Guest guest{cpuids(n)};
    Observer observer{guest};
    hwv_ring *ring = observer.open_ring(64, HWV_RING_BLOCK, only_cpuid);
    std::atomic<long> result{1};
    std::thread runner([&] { result = guest.enter(); });
    for (int i = 0; i < 1000 && !__atomic_load_n(&ring->blocked, __ATOMIC_RELAXED); ++i)
        std::this_thread::sleep_for(1ms);
    report("lossless_waited", ring->blocked > 0 && result == 1);
    std::uint64_t seen = 0, gaps = 0;
    pollfd wait{.fd = observer.fd, .events = POLLIN, .revents = 0};
    for (int i = 0; seen < n && i < 10'000; ++i) {
        ::poll(&wait, 1, 100);
        const std::uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
        for (; seen < head; ++seen)
            gaps += record(ring, seen).sequence != seen;
        __atomic_store_n(&ring->tail, seen, __ATOMIC_RELEASE);
    }
    ::poll(&wait, 1, 0);
    runner.join();
    expect("lossless_run", result, 0);
    expect("lossless_seen", static_cast<long>(seen), n);
    expect("lossless_gaps", static_cast<long>(gaps), 0);
    expect("lossless_dropped", static_cast<long>(ring->dropped), 0);
}

// A reader that dies does not keep the guest.
void check_reader_dies() {
    Guest guest{cpuids(1000)};
    Observer observer{guest};
    const hwv_ring *ring = observer.open_ring(64, HWV_RING_BLOCK);
    std::atomic<long> result{1};
    std::thread runner([&] { result = guest.enter(); });
    for (int i = 0; i < 1000 && !ring->blocked; ++i)
        std::this_thread::sleep_for(1ms);
    report("reader_keeps_guest", ring->blocked > 0 && result == 1);
    observer.close();
    runner.join();
    expect("reader_died", result, 0);
}

// ---- an eventfd instead of poll() ----

struct Signal {
    explicit Signal(const Observer &observer) { result = set(observer, fd); }
    ~Signal() { ::close(fd); }
    static long set(const Observer &observer, int fd, std::uint32_t flags = 0) {
        const hwv_observe_eventfd request{.fd = fd, .flags = flags};
        return raw::call(observer.fd, HWV_OBSERVE_EVENTFD, &request);
    }
    // How often since the last time.
    long times() const {
        eventfd_t n = 0;
        return ::eventfd_read(fd, &n) == 0 ? static_cast<long>(n) : 0;
    }
    int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    long result = 0;
};

void check_eventfd() {
    Guest guest{cpuids(20)};
    Observer observer{guest};
    hwv_ring *ring = observer.open_ring(64, 0, only_cpuid);
    Signal signal{observer};
    expect("eventfd", signal.result, 0);
    expect("eventfd_silent", signal.times(), 0);
    guest.enter();
    expect("eventfd_once_for_many", signal.times(), 1);
    guest.enter();
    expect("eventfd_not_empty_yet", signal.times(), 0);
    ring->tail = ring->head;
    guest.enter();
    expect("eventfd_again", signal.times(), 1);
    const Signal late{observer};
    expect("eventfd_at_once", late.times(), 1);
    expect("eventfd_replaced", signal.times(), 0);
    expect("eventfd_flags", Signal::set(observer, late.fd, 1), -EINVAL);
    expect("eventfd_other_file", Signal::set(observer, observer.fd), -EINVAL);
    expect("eventfd_no_file", Signal::set(observer, 9999), -EBADF);
    ring->tail = ring->head;
    guest.enter();
    expect("eventfd_stays", late.times(), 1);
    expect("eventfd_none", Signal::set(observer, -1), 0);
    ring->tail = ring->head;
    guest.enter();
    expect("eventfd_gone", late.times(), 0);
}

void check_eventfd_stop_and_end() {
    Guest guest{cpuids(1)};
    Ruler observer{guest};
    const Signal signal{observer};
    expect("eventfd_stop_set", observer.set({rule(HWV_EXIT_CPUID, HWV_ACTION_STOP)}, 30), 0);
    guest.enter();
    expect("eventfd_stop", signal.times(), 1);
    guest.end();
    expect("eventfd_end", signal.times(), 1);
}

// A reader that sleeps until he is told misses no record.
void check_eventfd_reader() {
    constexpr long rounds = 200, each = 50;
    Guest guest{cpuids(each)};
    Observer observer{guest};
    hwv_ring *ring = observer.open_ring(1 << 14, 0, only_cpuid);
    const Signal signal{observer};
    std::thread runner([&] {
        for (long i = 0; i < rounds; ++i)
            guest.enter();
    });
    long seen = 0, untold = 0, told = 0;
    while (seen < rounds * each && !untold) {
        pollfd wait{.fd = signal.fd, .events = POLLIN, .revents = 0};
        untold += ::poll(&wait, 1, 10'000) != 1;
        told += signal.times();
        std::uint64_t head = 0;
        while ((head = __atomic_load_n(&ring->head, __ATOMIC_SEQ_CST)) != ring->tail) {
            seen += static_cast<long>(head - ring->tail);
            __atomic_store_n(&ring->tail, head, __ATOMIC_SEQ_CST);
        }
    }
    runner.join();
    expect("eventfd_reader_told", untold, 0);
    expect("eventfd_reader_saw_all", seen, rounds * each);
    std::printf("told %ld times\n", told);
}

std::uint64_t entries_of(const hwv_vcpu_stats *s) {
    return __atomic_load_n(&s->entries, __ATOMIC_RELAXED);
}

void check_pause() {
    Guest guest{raw::loop_for_ever};
    Observer observer{guest};
    const hwv_vcpu_stats *s = observer.stats();
    hwv_regs regs{};
    hwv_observe_regs read{.groups = HWV_REGS_GPR,
                          .bytes = sizeof regs,
                          .regs = reinterpret_cast<std::uint64_t>(&regs)};
    std::atomic<long> result{1};
    std::thread runner([&] { result = guest.enter(); });
    for (int i = 0; i < 2000 && !entries_of(s); ++i)
        std::this_thread::sleep_for(1ms);
    expect("regs_of_a_running_vcpu", raw::call(observer.fd, HWV_OBSERVE_REGS, &read), -EBUSY);
    expect("pause", raw::call(observer.fd, HWV_PAUSE), 0);
    const std::uint64_t before = entries_of(s);
    std::this_thread::sleep_for(30ms);
    expect("paused_stands_still", static_cast<long>(entries_of(s)), static_cast<long>(before));
    expect("regs_of_a_paused_vcpu", raw::call(observer.fd, HWV_OBSERVE_REGS, &read), 0);
    report("regs_say_rip", regs.rip == 0xf000 || regs.rip == 0xf001);
    // out 0x21, al where the loop jumps to
    const unsigned char code[] = {0xe6, 0x21};
    hwv_observe_memory write{.gpa = 0xfffff001,
                             .bytes = sizeof code,
                             .buffer = reinterpret_cast<std::uint64_t>(code),
                             .flags = HWV_OBSERVE_SET};
    expect("memory_written", raw::call(observer.fd, HWV_OBSERVE_MEMORY, &write), 0);
    expect("memory_whole", static_cast<long>(write.done), sizeof code);
    regs.gpr[HWV_RAX] = 0x5a;
    read.flags = HWV_OBSERVE_SET;
    expect("regs_set", raw::call(observer.fd, HWV_OBSERVE_REGS, &read), 0);
    regs.rflags = 0;
    expect("regs_refused", raw::call(observer.fd, HWV_OBSERVE_REGS, &read), -EINVAL);
    expect("still_paused", result, 1);
    expect("resume", raw::call(observer.fd, HWV_RESUME), 0);
    runner.join();
    expect("resumed_run", result, 0);
    expect("resumed_reason", guest.run->exit.reason, HWV_EXIT_IO);
    expect("resumed_with_new_rax", guest.run->exit.io.data, 0x5a);
    report("stopped_time", s->segment[HWV_TIME_STOPPED].cycles > 0);
}

void check_end_resumes() {
    Guest guest{cpuids(10)};
    Observer observer{guest};
    expect("pause_an_idle_vm", raw::call(observer.fd, HWV_PAUSE), 0);
    std::atomic<long> result{1};
    std::thread runner([&] { result = guest.enter(); });
    std::this_thread::sleep_for(20ms);
    expect("paused_before_run", result, 1);
    observer.close();
    runner.join();
    expect("observers_end_resumes", result, 0);
}

void check_kill() {
    Guest guest{raw::loop_for_ever};
    Observer observer{guest};
    std::atomic<long> result{1};
    std::thread runner([&] { result = guest.enter(); });
    std::this_thread::sleep_for(5ms);
    expect("kill", raw::call(observer.fd, HWV_KILL), 0);
    runner.join();
    expect("killed_run", result, -ESHUTDOWN);
    expect("killed_for_good", guest.enter(), -ESHUTDOWN);
    hwv_vm_entry entry{};
    raw::call(observer.fd, HWV_OBSERVE_INFO, &entry);
    expect("killed_state", entry.state, HWV_VM_STATE_KILLED);
}

void check_after_the_end() {
    Guest guest{cpuids(20)};
    Observer observer{guest};
    const hwv_vcpu_stats *s = observer.stats();
    const hwv_ring *ring = observer.open_ring(64, 0, only_cpuid);
    guest.enter();
    guest.end();
    hwv_vm_entry entry{};
    expect("ended_info", raw::call(observer.fd, HWV_OBSERVE_INFO, &entry), 0);
    expect("ended_state", entry.state, HWV_VM_STATE_ENDED);
    expect("ended_stats_stay", static_cast<long>(s->exit[HWV_EXIT_CPUID].count), 20);
    expect("ended_ring_stays", static_cast<long>(ring->head), 20);
    hwv_observe_regs read{.groups = HWV_REGS_GPR, .bytes = sizeof(hwv_regs)};
    expect("ended_regs", raw::call(observer.fd, HWV_OBSERVE_REGS, &read), -ESRCH);
    expect("ended_pause", raw::call(observer.fd, HWV_PAUSE), -ESRCH);
}

// Who sleeps on the descriptor hears of the end, and the exit that user space never finished is
// there.
void check_end_is_told() {
    Guest guest{cpuids(3)};
    Observer observer{guest};
    const hwv_ring *ring = observer.open_ring(64, 0, ~0ull);
    guest.enter();
    const std::uint64_t before = ring->head;
    pollfd waits{.fd = observer.fd, .events = 0, .revents = 0};
    std::atomic<int> woken{-1};
    std::thread sleeper([&] { woken = ::poll(&waits, 1, 10'000); });
    std::this_thread::sleep_for(50ms);
    expect("asleep_until_the_end", woken, -1);
    guest.end();
    sleeper.join();
    expect("end_wakes", woken, 1);
    expect("end_is_a_hangup", waits.revents & POLLHUP, POLLHUP);
    expect("unfinished_is_written", static_cast<long>(ring->head - before), 1);
    const hwv_record last = record(ring, before);
    expect("unfinished_reason", last.reason, HWV_EXIT_IO);
    report("unfinished_flag", last.flags & HWV_RECORD_UNFINISHED);
    report("unfinished_times", last.tsc_entry > last.tsc_exit);
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("observe", "this machine cannot run guests");
        return 0;
    }
    check_list();
    check_rights();
    check_statistics();
    check_ring();
    check_drops();
    check_sample();
    check_lossless();
    check_reader_dies();
    check_pause();
    check_end_resumes();
    check_kill();
    check_after_the_end();
    check_end_is_told();
    check_eventfd();
    check_eventfd_stop_and_end();
    check_eventfd_reader();
    return verdict();
}
