// SPDX-License-Identifier: GPL-2.0-only
// timeout: 90
// bed: --smp 2
// What one user does to his own VM others do not feel: nobody waits for his memory, nothing is
// written into what the CPU holds of another VM, and a paused VM is paused whatever arrives.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include "hwv/netlink.hpp"
#include "module/report.hpp"
#include "module/watched.hpp"

namespace {

using namespace std::chrono_literals;

constexpr std::size_t page = 4096;

// Memory that is not there until serve().
class Absent {
  public:
    Absent()
        : fd_{static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK))},
          at_{::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)} {
        uffdio_api api{.api = UFFD_API, .features = 0, .ioctls = 0};
        uffdio_register range{
            .range = {address(), bytes}, .mode = UFFDIO_REGISTER_MODE_MISSING, .ioctls = 0};
        there_ = fd_ >= 0 && ::ioctl(fd_, UFFDIO_API, &api) == 0 &&
                 ::ioctl(fd_, UFFDIO_REGISTER, &range) == 0;
    }
    ~Absent() {
        ::munmap(at_, bytes);
        ::close(fd_);
    }
    bool there() const { return there_; }
    std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(at_); }
    // One that blocks says POLLERR at once (Linux, userfaultfd_poll()).
    bool somebody_waits() const {
        pollfd wait{.fd = fd_, .events = POLLIN, .revents = 0};
        return ::poll(&wait, 1, 10'000) == 1 && wait.revents == POLLIN;
    }
    void serve() const {
        uffdio_zeropage zero{.range = {address(), bytes}, .mode = 0, .zeropage = 0};
        ::ioctl(fd_, UFFDIO_ZEROPAGE, &zero);
    }
    static constexpr std::size_t bytes = 16 * page;

  private:
    int fd_;
    void *at_;
    bool there_ = false;
};

// 'D' or 'S': asleep.
char state_of(pid_t thread) {
    char text[256] = {};
    std::FILE *file =
        std::fopen(("/proc/self/task/" + std::to_string(thread) + "/stat").c_str(), "r");
    if (!file) return 0;
    const std::size_t got = std::fread(text, 1, sizeof text - 1, file);
    std::fclose(file);
    const std::string line{text, got};
    const std::size_t name = line.rfind(')');
    return name == std::string::npos ? 0 : line[name + 2];
}

bool falls_asleep(const std::atomic<pid_t> &thread) {
    for (int i = 0; i < 10'000; ++i) {
        if (const char state = thread ? state_of(thread) : 0; state == 'D' || state == 'S')
            return true;
        std::this_thread::sleep_for(1ms);
    }
    return false;
}

long list_vms() {
    const int device = raw::open_device();
    hwv_vm_entry entries[64] = {};
    hwv_vm_list list{.count = 64, .entries = reinterpret_cast<std::uint64_t>(entries)};
    const long result = raw::call(device, HWV_LIST_VMS, &list);
    ::close(device);
    return result;
}

long read_registers(const Observer &observer) {
    hwv_regs regs{};
    hwv_observe_regs request{.groups = HWV_REGS_GPR,
                             .bytes = sizeof regs,
                             .regs = reinterpret_cast<std::uint64_t>(&regs)};
    return raw::call(observer.fd, HWV_OBSERVE_REGS, &request);
}

// The owner's request waits for the owner's memory, and an observer for that request. Who lists VMs
// waits for neither.
void check_list_does_not_wait() {
    const Absent memory;
    if (!memory.there()) return skip("list_does_not_wait", "the kernel has no userfaultfd");
    Guest guest{raw::loop_for_ever};
    Observer observer{guest};
    std::thread owner([&] {
        const hwv_xsave request{
            .bytes = Absent::bytes, .flags = HWV_XSAVE_SET, .buffer = memory.address()};
        expect("owners_request_ends", raw::call(guest.vcpu, HWV_XSAVE, &request), 0);
    });
    report("owner_waits_for_memory", memory.somebody_waits());
    std::atomic<pid_t> reader{0};
    std::thread watcher([&] {
        reader = static_cast<pid_t>(::syscall(SYS_gettid));
        expect("observers_request_ends", read_registers(observer), 0);
    });
    report("observer_waits_for_owner", falls_asleep(reader));
    std::atomic<long> listed{1};
    std::thread lister([&] { listed = list_vms(); });
    for (int i = 0; i < 5000 && listed > 0; ++i)
        std::this_thread::sleep_for(1ms);
    expect("list_does_not_wait", listed, 0);
    memory.serve();
    for (std::thread *t : {&owner, &watcher, &lister})
        t->join();
}

// 0, or the errno that it throws, and how long that took.
template <typename Call>
std::pair<long, std::chrono::milliseconds> outcome(Call call) {
    const auto start = std::chrono::steady_clock::now();
    long code = 0;
    try {
        call();
    } catch (const hwv::Error &e) {
        code = e.code();
    }
    return {code, std::chrono::duration_cast<std::chrono::milliseconds>(
                      std::chrono::steady_clock::now() - start)};
}

template <typename Call>
void expect_timeout(const std::string &name, int code, Call call) {
    const auto [got, took] = outcome(call);
    expect(name, got, code);
    report(name + "_in_time", took + 10ms >= HWV_NETLINK_WAIT_MS * 1ms && took < 20s,
           std::to_string(took.count()) + " ms");
}

// sti; mov al, [0x500]; out 0x21, al; jmp $
const std::string reads_memory{"\xfb\xa0\x00\x05\xe6\x21\xeb\xfe", 8};

// Whoever asks for a thing of the family holds it up for all: nobody waits there for a vCPU without
// bound.
void check_netlink_does_not_wait() {
    const Absent memory;
    if (!memory.there()) return skip("netlink_does_not_wait", "the kernel has no userfaultfd");
    hwv::Netlink netlink;
    Guest guest{reads_memory};
    const hwv_memory low{
        .slot = 7, .flags = 0, .gpa = 0, .size = Absent::bytes, .hva = memory.address()};
    expect("low_memory", raw::call(guest.vm, HWV_SET_MEMORY, &low), 0);
    std::thread runner([&] { expect("guest_goes_on", guest.enter(), 0); });
    report("guest_waits_for_memory", memory.somebody_waits());
    expect_timeout("pause_is_refused", ETIMEDOUT, [&] { netlink.pause(guest.id); });
    memory.serve();
    runner.join();
    expect("refused_pause_is_undone", guest.run->exit.reason, HWV_EXIT_IO);

    const Absent later;
    expect("pause", outcome([&] { netlink.pause(guest.id); }).first, 0);
    std::thread owner([&] {
        const hwv_xsave request{
            .bytes = Absent::bytes, .flags = HWV_XSAVE_SET, .buffer = later.address()};
        expect("owner_goes_on", raw::call(guest.vcpu, HWV_XSAVE, &request), 0);
    });
    report("owner_waits_for_his_memory", later.somebody_waits());
    expect_timeout("registers_are_refused", EBUSY, [&] { netlink.registers(guest.id, 0); });
    later.serve();
    owner.join();
}

// Each interrupt makes the vCPU look up.
void check_registers_of_a_paused_vm() {
    Guest guest{raw::loop_for_ever};
    Observer observer{guest};
    std::thread runner([&] { guest.enter(); });
    expect("pause", raw::call(observer.fd, HWV_PAUSE), 0);
    std::atomic<bool> done{false};
    std::thread sender([&] {
        const hwv_interrupt nmi{.kind = HWV_INTERRUPT_NMI, .vector = 0};
        while (!done)
            raw::call(guest.vcpu, HWV_INTERRUPT, &nmi);
    });
    long refused = 0;
    for (int i = 0; i < 500; ++i)
        refused += read_registers(observer) != 0;
    done = true;
    sender.join();
    expect("paused_is_paused", refused, 0);
    raw::call(observer.fd, HWV_KILL);
    runner.join();
}

// out 0x21, al for ever, with interrupts open
const std::string outs = "\xfb\xe6\x21\xeb\xfc";

void set_register(const Guest &guest, std::uint32_t offset, std::uint32_t value) {
    const hwv_apic_reg request{
        .offset = offset, .value = value, .flags = HWV_APIC_REG_SET, .reserved = 0};
    expect("register_" + std::to_string(offset), raw::call(guest.vcpu, HWV_APIC_REG, &request), 0);
}

void stay_on(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    ::sched_setaffinity(0, sizeof set, &set);
}

// An interrupt that the task priority holds back has Intel's CPUs watch the priority, by a field
// that another VM, the last one on this CPU, has too.
void check_priority_is_ones_own() {
    stay_on(0);
    Guest held{outs}, other{outs};
    set_register(held, 0xf0, 0x1ff);
    set_register(held, 0x80, 0x80);
    const hwv_msi message{.address = 0xfee00000, .data = 0x51, .flags = 0};
    expect("message", raw::call(held.vm, HWV_MSI, &message), 1);
    expect("held_runs", held.enter(), 0);
    expect("other_runs", other.enter(), 0);
    set_register(held, 0x80, 0x20);
    expect("other_runs_again", other.enter(), 0);
    expect("other_is_not_touched", other.run->exit.reason, HWV_EXIT_IO);
}

// sti; mov ecx, 0x4b564d03 (steal time); mov eax, 0x1001; xor edx, edx; wrmsr; out 0x21, al; jmp $
const std::string tells_its_absence{
    "\xfb\x66\xb9\x03\x4d\x56\x4b\x66\xb8\x01\x10\x00\x00\x66\x31\xd2\x0f\x30\xe6\x21\xeb\xfe", 22};

// In a process of its own: what of its memory, which is where the owner's is in his, is not as it
// was when the owner has made his go away and it has looked at the paused guest.
int watch_from_elsewhere(std::uint64_t vm, char *record, int asks, int answers) {
    const int observer = static_cast<int>(attach(vm));
    std::memset(record, 0, page); // its own from now on
    hwv_regs regs{};
    hwv_observe_regs request{.groups = HWV_REGS_GPR,
                             .bytes = sizeof regs,
                             .regs = reinterpret_cast<std::uint64_t>(&regs)};
    int changed = observer < 0 ? 100 : 0;
    for (int i = 0; i < 10; ++i) {
        char token = 0;
        if (::write(asks, &token, 1) != 1 || ::read(answers, &token, 1) != 1) return 101;
        if (raw::call(observer, HWV_PAUSE) || raw::call(observer, HWV_OBSERVE_REGS, &request) ||
            raw::call(observer, HWV_RESUME))
            return 102;
        changed += std::any_of(record, record + page, [](char byte) { return byte != 0; });
    }
    return changed;
}

// The guest sees that its vCPU is away, in its own memory and nobody else's.
void check_observers_memory_is_his() {
    Guest guest{tells_its_absence};
    auto *low = static_cast<char *>(
        ::mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    const hwv_memory slot{.slot = 7, .size = 2 * page, .hva = reinterpret_cast<std::uint64_t>(low)};
    expect("record_has_memory", raw::call(guest.vm, HWV_SET_MEMORY, &slot), 0);
    expect("record_is_wanted", guest.enter(), 0);
    int asks[2], answers[2];
    stay_on(0);
    report("pipes", ::pipe(asks) == 0 && ::pipe(answers) == 0);
    const pid_t child = ::fork();
    if (child == 0) ::_exit(watch_from_elsewhere(guest.id, low + page, asks[1], answers[0]));
    ::close(asks[1]);
    ::close(answers[0]);
    std::thread runner([&] {
        stay_on(1); // alone: whenever it comes back to a CPU the record is written
        guest.enter();
    });
    for (char token = 0; ::read(asks[0], &token, 1) == 1;) {
        std::this_thread::sleep_for(20ms); // the guest runs, its record is written
        ::madvise(low + page, page, MADV_DONTNEED);
        if (::write(answers[1], &token, 1) != 1) break;
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    expect("observers_memory_is_his", WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
    raw::call(guest.vcpu, HWV_KICK);
    runner.join();
    ::close(asks[0]);
    ::close(answers[1]);
    ::munmap(low, 2 * page);
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("strangers", "this machine cannot run guests");
        return 0;
    }
    check_list_does_not_wait();
    check_netlink_does_not_wait();
    check_registers_of_a_paused_vm();
    check_priority_is_ones_own();
    check_observers_memory_is_his();
    return verdict();
}
