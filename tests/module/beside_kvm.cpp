// SPDX-License-Identifier: GPL-2.0-only
// bed: --smp 2
// timeout: 180
// Own, ride or refuse: hwv and KVM on one machine, in every order of beginning and ending.
#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <optional>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "hwv/error.hpp"
#include "hwv/kvm.hpp"
#include "hwv/system.hpp"
#include "module/raw.hpp"
#include "module/report.hpp"
#include "module/syscall_guest.hpp"

namespace {

using oracle::Kind;

std::uint32_t tenure() { return hwv::System{}.info().tenure; }

void expect_right(const std::string &name, SyscallWorker &worker) {
    const bool advanced = worker.advances();
    const std::string wrong = advanced ? "" : worker.stop();
    report(name, advanced, wrong.empty() ? "stands still" : wrong);
}

// Starts one, then the other, ends one, then the other; whoever is there must be right at each
// point.
void check_order(Kind first, Kind ends_first) {
    const Kind second = first == Kind::hwv ? Kind::kvm : Kind::hwv;
    const std::string name =
        std::string{oracle::name(first)} + "_starts_" + oracle::name(ends_first) + "_ends_first";
    std::optional<SyscallWorker> workers[2]; // by Kind
    const auto worker = [&](Kind kind) -> auto & { return workers[static_cast<int>(kind)]; };
    worker(first).emplace(first, 0u);
    expect_right(name + "/alone", *worker(first));
    worker(second).emplace(second, 1u);
    expect_right(name + "/both_hwv", *worker(Kind::hwv));
    expect_right(name + "/both_kvm", *worker(Kind::kvm));
    expect(name + "/tenure", tenure(), HWV_TENURE_RIDE);
    worker(ends_first)->stop();
    worker(ends_first).reset();
    const Kind rest = ends_first == Kind::hwv ? Kind::kvm : Kind::hwv;
    expect_right(name + "/the_other_goes_on", *worker(rest));
    worker(rest).reset();
    expect(name + "/nobody", tenure(), HWV_TENURE_NONE);
}

// errno, or 0 where it can be had.
int own_refusal() {
    try {
        const hwv::Vm vm = hwv::System{}.create_vm("own", 0, hwv::Tenure::own);
        return 0;
    } catch (const hwv::Error &e) {
        return e.code();
    }
}

void check_owner() {
    std::optional<hwv::Vm> owner = hwv::System{}.create_vm("own", 0, hwv::Tenure::own);
    expect("own/tenure", tenure(), HWV_TENURE_OWN);
    const hwv::Fd kvm = hwv::empty_kvm_vm();
    const int refusal = kvm ? 0 : errno; // EIO from Linux 6.12 on
    report("own/kvm_is_refused", refusal == EBUSY || refusal == EIO, std::to_string(refusal));
    {
        SyscallWorker guest{Kind::hwv, 0};
        owner.reset();
        expect_right("own/goes_on", guest);
        expect("own/a_later_vm_joins", tenure(), HWV_TENURE_OWN);
    }
    SyscallWorker after{Kind::kvm, 1};
    expect_right("own/kvm_afterwards", after);
}

void check_refusal() {
    SyscallWorker guest{Kind::kvm, 1};
    expect_right("refused/kvm_before", guest);
    const int device = raw::open_device();
    const hwv_create_vm request{.name = "no fd"};
    expect("refused/without_a_kvm_vm", raw::call(device, HWV_CREATE_VM, &request), -EBUSY);
    ::close(device);
    expect("refused/tenure", tenure(), HWV_TENURE_NONE);
    expect_right("refused/kvm_afterwards", guest);
}

// The VM to ride on and whoever gave it are gone; the next VM needs none.
void check_heir() {
    int ready[2], stop[2];
    if (::pipe(ready) || ::pipe(stop)) return;
    const pid_t child = ::fork();
    if (child == 0) {
        const hwv::Vm vm = hwv::System{}.create_vm("giver", 0);
        char c = 0;
        if (::write(ready[1], &c, 1) != 1 || ::read(stop[0], &c, 1) != 1) ::_exit(1);
        ::_exit(0);
    }
    char c = 0;
    const bool started = ::read(ready[0], &c, 1) == 1;
    const int vm = raw::create_vm(); // without a KVM VM
    expect("heir/tenure", tenure(), HWV_TENURE_RIDE);
    const bool told = ::write(stop[1], &c, 1) == 1;
    ::waitpid(child, nullptr, 0);
    report("heir/giver", started && told, "the other process failed");
    SyscallWorker guest{Kind::hwv, 0}, neighbour{Kind::kvm, 1};
    ::close(vm);
    expect_right("heir/hwv", guest);
    expect_right("heir/kvm", neighbour);
    expect("heir/still_rides", tenure(), HWV_TENURE_RIDE);
}

bool set_online(bool on) {
    std::ofstream file("/sys/devices/system/cpu/cpu1/online");
    file << (on ? 1 : 0) << std::flush;
    return file.good();
}

void check_hotplug() {
    SyscallWorker guest{Kind::hwv, 0}, neighbour{Kind::kvm, 1};
    bool switched = true;
    for (int i = 0; i < 3; ++i) {
        const std::string name = "hotplug" + std::to_string(i);
        switched &= set_online(false);
        expect_right(name + "/hwv_without", guest);
        switched &= set_online(true);
        expect_right(name + "/hwv_with", guest);
        expect_right(name + "/kvm_with", neighbour);
    }
    report("hotplug/switched", switched, "could not write .../cpu1/online");
}

// hwv begins to ride with one CPU; the other one joins later.
void check_late_cpu() {
    set_online(false);
    const hwv::Vm vm = hwv::System{}.create_vm("early", 0);
    set_online(true);
    SyscallWorker guest{Kind::hwv, 0, {.cpu = 1}}, neighbour{Kind::kvm, 1, {.cpu = 1}};
    expect_right("late_cpu/hwv", guest);
    expect_right("late_cpu/kvm", neighbour);
}

long unload(const std::string &module) {
    return ::syscall(SYS_delete_module, module.c_str(), O_NONBLOCK) < 0 ? -errno : 0;
}

// The last one: KVM is gone then.
void check_unload(const std::string &kvm) {
    {
        SyscallWorker guest{Kind::hwv, 0};
        expect_right("unload/before", guest);
        expect("unload/is_refused", unload(kvm), -EWOULDBLOCK);
        expect_right("unload/after", guest);
    }
    expect("unload/with_hwvs_end", unload(kvm), 0);
    SyscallWorker guest{Kind::hwv, 0};
    expect_right("unload/own_then", guest);
    expect("unload/tenure", tenure(), HWV_TENURE_OWN);
}

} // namespace

int main() {
    const std::string kvm = hwv::kvm_module();
    if (!raw::can_run() || kvm.empty() || !hwv::empty_kvm_vm()) {
        skip("beside_kvm", "not both hwv and KVM can run guests here");
        return 0;
    }
    if (own_refusal() == EBUSY)
        skip("own", "KVM has the CPUs as long as its module is loaded");
    else
        check_owner();
    check_refusal();
    for (Kind first : {Kind::hwv, Kind::kvm})
        for (Kind ends_first : {Kind::hwv, Kind::kvm})
            check_order(first, ends_first);
    check_heir();
    check_hotplug();
    check_late_cpu();
    check_unload(kvm);
    return verdict();
}
