// SPDX-License-Identifier: GPL-2.0-only
// bed: --smp 2
// A guest that never leaves by itself: kicks, signals and other threads' calls while it runs.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <pthread.h>
#include <sys/time.h>
#include <thread>
#include <unistd.h>
#include <vector>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

using namespace std::chrono_literals;

struct Guest {
    int vm = raw::create_vm();
    void *memory = raw::map_reset_page(vm, raw::loop_for_ever);
    int vcpu = raw::create_vcpu(vm);
    hwv_run *run = raw::map_run(vcpu);
};

std::uint64_t entries(int vcpu) {
    hwv_vcpu_stats stats{};
    raw::read_stats(vcpu, &stats);
    return stats.entries;
}

// Until the vCPU has entered the guest since.
void wait_for_entry(int vcpu, std::uint64_t since) {
    for (int i = 0; i < 2000 && entries(vcpu) <= since; ++i)
        std::this_thread::sleep_for(1ms);
}

void check_calls_of_others(Guest &guest) {
    std::atomic<long> result{1};
    std::uint64_t before = entries(guest.vcpu);
    std::thread runner([&] { result = raw::call(guest.vcpu, HWV_RUN); });
    wait_for_entry(guest.vcpu, before);
    hwv_msr_entry msr{.index = 0x10};
    hwv_msrs msrs{1, 0, reinterpret_cast<std::uint64_t>(&msr)};
    expect("run_twice", raw::call(guest.vcpu, HWV_RUN), -EBUSY);
    expect("sync_while_running", raw::call(guest.vcpu, HWV_SYNC_REGS), -EBUSY);
    expect("msrs_while_running", raw::call(guest.vcpu, HWV_MSRS, &msrs), -EBUSY);
    expect("still_running", result, 1);
    expect("kick", raw::call(guest.vcpu, HWV_KICK), 0);
    runner.join();
    expect("kicked_run", result, 0);
    expect("kicked_reason", guest.run->exit.reason, HWV_EXIT_KICKED);
    expect("msrs_afterwards", raw::call(guest.vcpu, HWV_MSRS, &msrs), 1);
}

// A kick that comes before is not lost, and counts once.
void check_early_kick(Guest &guest) {
    raw::call(guest.vcpu, HWV_KICK);
    expect("early_kick", raw::call(guest.vcpu, HWV_RUN), 0);
    expect("early_kick_reason", guest.run->exit.reason, HWV_EXIT_KICKED);
}

void check_kicks(Guest &guest, int rounds) {
    int good = 0;
    for (int i = 0; i < rounds; ++i) {
        std::thread kicker([&] {
            std::this_thread::sleep_for(std::chrono::microseconds(37 * i % 2000));
            raw::call(guest.vcpu, HWV_KICK);
        });
        good += raw::call(guest.vcpu, HWV_RUN) == 0 && guest.run->exit.reason == HWV_EXIT_KICKED;
        kicker.join();
    }
    expect("kicks_at_any_moment", good, rounds);
}

void check_signals(Guest &guest, int rounds) {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGUSR1, &action, nullptr);
    int good = 0;
    for (int i = 0; i < rounds; ++i) {
        std::atomic<bool> done{false};
        std::thread runner([&] {
            good += raw::call(guest.vcpu, HWV_RUN) == -EINTR;
            done = true;
        });
        std::this_thread::sleep_for(std::chrono::microseconds(53 * i % 2000));
        // Before the ioctl began a signal is only a signal: hence again and again.
        while (!done) {
            ::pthread_kill(runner.native_handle(), SIGUSR1);
            std::this_thread::sleep_for(1ms);
        }
        runner.join();
    }
    expect("signals_end_a_run", good, rounds);
}

// The thread hops between CPUs under the guest.
void check_migration(Guest &guest) {
    std::atomic<bool> stop{false};
    std::atomic<int> good{0};
    std::thread runner([&] {
        while (!stop)
            good += raw::call(guest.vcpu, HWV_RUN) == 0;
    });
    for (int i = 0; i < 100; ++i) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(i % 2, &set);
        ::pthread_setaffinity_np(runner.native_handle(), sizeof set, &set);
        std::this_thread::sleep_for(1ms);
        raw::call(guest.vcpu, HWV_KICK);
    }
    stop = true;
    raw::call(guest.vcpu, HWV_KICK);
    runner.join();
    report("migration", good > 0, "no run came back well");
}

// A signal interrupts what the kernel does there, and no VM is refused for it.
void check_creation_under_signals() {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, nullptr);
    const int device = raw::open_device();
    hwv_create_vm request{.name = "signalled"};
    itimerval often{{0, 2000}, {0, 2000}}, never{};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    int created = 0;
    for (int i = 0; i < 300; ++i) {
        const long vm = raw::call(device, HWV_CREATE_VM, &request);
        created += vm >= 0;
        if (vm >= 0) ::close(static_cast<int>(vm));
    }
    ::setitimer(ITIMER_REAL, &never, nullptr);
    ::close(device);
    expect("created_under_signals", created, 300);
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("running", "this machine cannot run guests");
        return 0;
    }
    Guest guest;
    check_calls_of_others(guest);
    check_early_kick(guest);
    check_kicks(guest, 50);
    check_signals(guest, 30);
    check_migration(guest);
    check_creation_under_signals();
    return verdict();
}
