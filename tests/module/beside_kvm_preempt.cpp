// SPDX-License-Identifier: GPL-2.0-only
// timeout: 180
// A guest of hwv's and one of KVM's on one CPU, taking it from each other in the middle of their
// system calls: both, and the host's threads between them, find what is theirs in the MSRs.
#include <cstdio>
#include <fcntl.h>
#include <optional>
#include <unistd.h>
#include <vector>
#include "hwv/kvm.hpp"
#include "hwv/system.hpp"
#include "module/raw.hpp"
#include "module/report.hpp"
#include "module/syscall_guest.hpp"

namespace {

using namespace std::chrono_literals;
using oracle::Kind;

// Preemptions of each guest: each takes Bochs ten times as long. `least`: on a slow bed.
const long wanted = oracle::on_bochs() ? 1'000 : 4'000;
constexpr long least = 1'000;
constexpr auto longest = 40s;

// A user's thread that takes the CPU every tenth of a millisecond; from whom it took it, he comes
// behind the others.
class Disturber {
  public:
    Disturber()
        : thread_{[this] {
              pin_this_thread(0);
              const sched_param priority{.sched_priority = 1};
              real_time_ = ::sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
              while (!stop_)
                  std::this_thread::sleep_for(100us);
          }} {}
    ~Disturber() {
        stop_ = true;
        thread_.join();
    }
    bool real_time() const { return real_time_; }

  private:
    std::atomic<bool> stop_{false}, real_time_{true};
    std::thread thread_;
};

// A thread without a guest.
class Bystander {
  public:
    Bystander()
        : thread_{[this] {
              pin_this_thread(0);
              const HostThreadState state;
              while (!stop_ && complaint_.empty()) {
                  complaint_ = state.check();
                  ::sched_yield();
              }
          }} {}
    std::string stop() {
        stop_ = true;
        if (thread_.joinable()) thread_.join();
        return complaint_;
    }

  private:
    std::atomic<bool> stop_{false};
    std::string complaint_;
    std::thread thread_;
};

void report_preemptions(const std::string &name, long seen) {
    report(name + "/preemptions", seen >= least, "only " + std::to_string(seen));
    std::printf("%s: preempted %ld times\n", name.c_str(), seen);
}

void report_right(const std::string &name, const std::string &complaint) {
    report(name, complaint.empty(), complaint);
}

template <typename Count>
void wait_for(Count count, SyscallWorker &worker) {
    const auto end = std::chrono::steady_clock::now() + longest;
    while (count() < wanted && std::chrono::steady_clock::now() < end && worker.advances())
        std::this_thread::sleep_for(200ms);
}

// Both are preempted, and a user's thread runs in between: what is left in the CPU until a return
// to user is cleared away.
void check_by_way_of_user() {
    SyscallWorker guest{Kind::hwv, 0, {.cpu = 0}}, neighbour{Kind::kvm, 1, {.cpu = 0}};
    Bystander bystander;
    std::optional<Disturber> disturber{std::in_place};
    wait_for([&] { return std::min(guest.preemptions(), neighbour.preemptions()); }, guest);
    report("disturber", disturber->real_time(), "no real-time priority");
    disturber.reset();
    report_right("by_user/hwv", guest.stop());
    report_right("by_user/kvm", neighbour.stop());
    report_right("by_user/bystander", bystander.stop());
    report_preemptions("by_user/hwv", guest.preemptions());
    report_preemptions("by_user/kvm", neighbour.preemptions());
}

// One guest sleeps in the kernel and takes the CPU from the other one at each tick of its timer:
// from guest to guest and back without a return to user.
void check_direct(Kind preempting) {
    const Kind preempted = preempting == Kind::hwv ? Kind::kvm : Kind::hwv;
    const std::string name = std::string{oracle::name(preempting)} + "_preempts";
    SyscallWorker patient{preempted, 1, {.cpu = 0, .calls = 20'000}};
    SyscallWorker hasty{
        preempting,
        0,
        {.cpu = 0, .calls = 3, .halts = 500, .timer_ns = 500'000, .real_time = true}};
    wait_for([&] { return patient.preemptions(); }, hasty);
    report_right(name + "/" + oracle::name(preempting), hasty.stop());
    report_right(name + "/" + oracle::name(preempted), patient.stop());
    report_preemptions(name + "/" + oracle::name(preempted), patient.preemptions());
}

// What no thread changes: STAR, LSTAR, CSTAR, SFMASK, SYSENTER_CS, _ESP, _EIP. Empty where the
// kernel's module for it is not at hand.
std::vector<std::uint64_t> host_msrs() {
    std::vector<std::uint64_t> values;
    const int file = ::open("/dev/cpu/0/msr", O_RDONLY | O_CLOEXEC);
    for (const off_t index :
         {0xc000'0081u, 0xc000'0082u, 0xc000'0083u, 0xc000'0084u, 0x174u, 0x175u, 0x176u}) {
        std::uint64_t value = 0;
        if (file >= 0 && ::pread(file, &value, 8, index) == 8) values.push_back(value);
    }
    if (file >= 0) ::close(file);
    return values;
}

} // namespace

int main() {
    if (!raw::can_run() || hwv::kvm_module().empty() || !hwv::empty_kvm_vm()) {
        skip("beside_kvm_preempt", "not both hwv and KVM can run guests here");
        return 0;
    }
    const std::vector<std::uint64_t> before = host_msrs();
    for (Kind preempting : {Kind::hwv, Kind::kvm})
        check_direct(preempting);
    check_by_way_of_user();
    if (before.empty())
        skip("host_msrs", "the kernel's msr module is not at hand");
    else
        report("host_msrs", host_msrs() == before, "the host's system call MSRs have changed");
    return verdict();
}
