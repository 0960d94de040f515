// SPDX-License-Identifier: GPL-2.0-only
// timeout: 200
// bed: --smp 2
// kill -9 of a process with two threads in HWV_RUN, at random moments: 20 times to warm up, then
// 200 times between two readings of what the kernel holds. An object or page lost per kill shows as
// 200; readings may differ by less than a quarter of that.
#include <csignal>
#include <random>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include "module/growth.hpp"
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

constexpr int warm_up = 20, rounds = 200;
constexpr long tolerance = rounds / 4;

// What a user has in hand when it dies: guest memory, eventfds, one vCPU in the guest, one that
// waits for SIPI.
int victim() {
    int vm = raw::create_vm();
    raw::map_reset_page(vm, raw::loop_for_ever);
    int event = ::eventfd(0, 0);
    hwv_irqfd irqfd{.fd = event, .resample_fd = event, .data = 0x40, .address = 0xfee00000};
    raw::call(vm, HWV_IRQFD, &irqfd);
    hwv_ioeventfd io{.address = 0x1000, .length = 4, .fd = event};
    raw::call(vm, HWV_IOEVENTFD, &io);
    int first = raw::create_vcpu(vm, 0), second = raw::create_vcpu(vm, 1);
    std::thread other([=] { raw::call(second, HWV_RUN); });
    raw::call(first, HWV_RUN);
    other.join();
    return 0;
}

void kill_one(std::mt19937 &random) {
    pid_t pid = ::fork();
    if (pid == 0) std::_Exit(victim());
    ::usleep(std::uniform_int_distribution<useconds_t>(0, 15000)(random));
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
}

} // namespace

// With an argument: only what is killed, for others to kill.
int main(int argc, char **) {
    if (argc > 1) return victim();
    std::mt19937 random(20240229);
    for (int i = 0; i < warm_up; ++i)
        kill_one(random);
    growth::read(); // warms up the reading itself
    const growth::Counters before = growth::read();
    for (int i = 0; i < rounds; ++i)
        kill_one(random);
    const auto [name, more] = growth::worst(before, tolerance);
    report("nothing_is_left", more < tolerance, name + " grew by " + std::to_string(more));
    expect("module_references", growth::module_references(), 0);
    return verdict();
}
