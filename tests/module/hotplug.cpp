// SPDX-License-Identifier: GPL-2.0-only
// bed: --smp 2
// CPUs go and come under a running guest, and between guests.
#include <atomic>
#include <chrono>
#include <fstream>
#include <pthread.h>
#include <thread>
#include <unistd.h>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

using namespace std::chrono_literals;

bool set_online(bool on) {
    std::ofstream file("/sys/devices/system/cpu/cpu1/online");
    file << (on ? 1 : 0) << std::flush;
    return file.good();
}

void pin(pthread_t thread, int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    ::pthread_setaffinity_np(thread, sizeof set, &set);
}

struct Guest {
    int vm = raw::create_vm();
    void *memory = raw::map_reset_page(vm, raw::loop_for_ever);
    int vcpu = raw::create_vcpu(vm);
    hwv_run *run = raw::map_run(vcpu);
    ~Guest() {
        ::close(vcpu);
        ::close(vm);
    }
};

// Runs the guest on CPU 1 for a moment; true: it went in and came out as kicked.
bool runs_on_cpu1(Guest &guest) {
    std::atomic<long> result{1};
    std::thread runner([&] {
        pin(::pthread_self(), 1);
        result = raw::call(guest.vcpu, HWV_RUN);
    });
    std::this_thread::sleep_for(20ms);
    raw::call(guest.vcpu, HWV_KICK);
    runner.join();
    return result == 0 && guest.run->exit.reason == HWV_EXIT_KICKED;
}

void check_under_guest(Guest &guest) {
    std::atomic<bool> stop{false};
    std::atomic<int> bad{0};
    std::thread runner([&] {
        pin(::pthread_self(), 1);
        while (!stop)
            bad += raw::call(guest.vcpu, HWV_RUN) != 0 || guest.run->exit.reason != HWV_EXIT_KICKED;
    });
    bool switched = true;
    for (int i = 0; i < 5; ++i) {
        switched &= set_online(false);
        std::this_thread::sleep_for(10ms);
        raw::call(guest.vcpu, HWV_KICK);
        switched &= set_online(true);
        pin(runner.native_handle(), 1);
        std::this_thread::sleep_for(10ms);
        raw::call(guest.vcpu, HWV_KICK);
    }
    stop = true;
    raw::call(guest.vcpu, HWV_KICK);
    runner.join();
    report("cpu_switched", switched, "could not write .../cpu1/online");
    expect("runs_that_ended_badly", bad, 0);
}

// The first VM starts with one CPU; the other joins later and must be made ready then.
void check_late_cpu() {
    set_online(false);
    Guest guest;
    set_online(true);
    report("cpu_that_came_later", runs_on_cpu1(guest), "the guest did not run there");
}

// The last VM ends while a CPU is away; that CPU must not come back switched on.
void check_missed_end() {
    {
        Guest guest;
        report("before", runs_on_cpu1(guest), "the guest did not run on CPU 1");
        set_online(false);
    }
    set_online(true);
    Guest guest;
    report("after_missed_end", runs_on_cpu1(guest), "the guest did not run on CPU 1");
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("hotplug", "this machine cannot run guests");
        return 0;
    }
    {
        Guest guest;
        check_under_guest(guest);
    }
    check_late_cpu();
    check_missed_end();
    return verdict();
}
