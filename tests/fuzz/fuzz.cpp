// SPDX-License-Identifier: GPL-2.0-only
#include "fuzz/fuzz.hpp"
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <pthread.h>
#include <sched.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>
#include "module/raw.hpp"
#include "oracle/test_vm.hpp"

namespace fuzz {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

std::uint64_t Random::boundary() {
    static constexpr std::uint64_t edges[] = {
        0,           1,           0xfff,       0x1000,     0x7fff'ffff,           0x8000'0000,
        0xffff'ffff, 0xfee0'0000, 0xffff'f000, 1ull << 47, 0xffff'8000'0000'0000, ~0ull << 12};
    switch (below(6)) {
    case 0: return below(16);
    case 1: return (1ull << below(64)) - below(2);
    case 2: return ~0ull - below(4);
    case 3: return edges[below(std::size(edges))];
    case 4: return below(1 << 12) << 12;
    default: return next();
    }
}

double seconds(double otherwise) {
    const char *given = std::getenv("FUZZ_SECONDS");
    return given ? std::atof(given) : otherwise;
}

std::uint64_t seed() {
    static const std::uint64_t value = [] {
        const char *given = std::getenv("FUZZ_SEED");
        const std::uint64_t s =
            given ? std::strtoull(given, nullptr, 0)
                  : static_cast<std::uint64_t>(
                        std::chrono::system_clock::now().time_since_epoch().count());
        std::printf("# FUZZ_SEED=%#llx\n", static_cast<unsigned long long>(s));
        std::fflush(stdout);
        return s;
    }();
    return value;
}

void arm() { std::ofstream{"/proc/sys/kernel/panic_on_warn"} << 1 << std::flush; }

namespace {

bool reaped(pid_t pid, Clock::time_point until) {
    while (Clock::now() < until) {
        if (::waitpid(pid, nullptr, WNOHANG) == pid) return true;
        std::this_thread::sleep_for(5ms);
    }
    return false;
}

// Bochs lets no interrupt of the host end a guest that was entered with IF clear
// (conformance/framework.hpp), so a signal that ends its thread waits as long as it does not exit
// by itself. An NMI ends it, and then the interrupt is taken.
void end_guests() {
    if (oracle::on_bochs()) std::ofstream{"/proc/sysrq-trigger"} << 'l' << std::flush;
}

// Ends by itself until then. No guest keeps a CPU for so long that the kernel complains.
bool ends(pid_t pid, Clock::time_point until) {
    while (!reaped(pid, std::min(until, Clock::now() + 3s))) {
        if (Clock::now() >= until) return false;
        end_guests();
    }
    return true;
}

bool killed(pid_t pid) {
    ::kill(pid, SIGKILL);
    for (unsigned n = 0; n < 10; ++n) {
        if (reaped(pid, Clock::now() + 2s)) return true;
        end_guests();
    }
    return false;
}

} // namespace

void leave_a_cpu() {
    if (!oracle::on_bochs()) return;
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    ::sched_setaffinity(0, sizeof first, &first);
}

bool rounds(double duration, double each, const std::function<void(Random &)> &body) {
    const auto end = Clock::now() + std::chrono::duration<double>(duration);
    unsigned n = 0, by_signal = 0;
    for (; n == 0 || Clock::now() < end; ++n) {
        const std::uint64_t its_seed = seed() + n;
        std::fflush(stdout);
        const pid_t pid = ::fork();
        if (pid == 0) {
            Random random{its_seed};
            body(random);
            std::_Exit(0);
        }
        const auto its_end =
            Clock::now() + std::chrono::milliseconds(static_cast<long>(each * 1000));
        if (ends(pid, its_end)) continue;
        ++by_signal;
        if (!killed(pid)) {
            std::printf("# round %u (seed %#llx) cannot be killed\n", n,
                        static_cast<unsigned long long>(its_seed));
            return false;
        }
    }
    std::printf("# %u rounds, %u ended by SIGKILL\n", n, by_signal);
    return true;
}

bool guest_still_runs() {
    const int vm = raw::create_vm();
    raw::map_program(vm, {"\xb8\x34\x12\xba\x10\x00\xef\xeb\xfe", 9}); // mov ax, 1234; out dx, ax
    const int vcpu = raw::create_vcpu(vm);
    const hwv_run *run = raw::map_run(vcpu);
    const bool good = raw::call(vcpu, HWV_RUN) == 0 && run->exit.reason == HWV_EXIT_IO &&
                      run->exit.io.port == 0x10 && run->exit.io.data == 0x1234;
    ::close(vcpu);
    ::close(vm);
    return good;
}

std::string complaint() {
    constexpr int read_all = 3;
    std::vector<char> log(1 << 18);
    const int n = ::klogctl(read_all, log.data(), static_cast<int>(log.size()));
    const std::string text{log.data(), n > 0 ? static_cast<std::size_t>(n) : 0};
    for (const char *bad :
         {"WARNING: CPU:", "BUG:", "Oops", "unchecked MSR", "stack-protector", "hung_task"})
        if (const auto at = text.find(bad); at != text.npos)
            return text.substr(at, text.find('\n', at) - at);
    return {};
}

struct Ticker::State {
    std::atomic<bool> stop{false};
    std::thread thread;
};

Ticker::Ticker(int fd, unsigned microseconds) : state_{new State} {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGUSR1, &action, nullptr);
    state_->thread = std::thread([state = state_, fd, microseconds, who = ::pthread_self()] {
        for (unsigned n = 0; !state->stop; ++n) {
            std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
            if (n % 2)
                raw::call(fd, HWV_KICK);
            else
                ::pthread_kill(who, SIGUSR1);
        }
    });
}

Ticker::~Ticker() {
    state_->stop = true;
    state_->thread.join();
    delete state_;
}

} // namespace fuzz
