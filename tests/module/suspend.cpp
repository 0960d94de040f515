// SPDX-License-Identifier: GPL-2.0-only
// timeout: 90
// bed: --count
// Suspend and resume of the machine under a running guest: as far as the kernel's own test mode
// goes, which calls everybody's suspend with irqs off on the last CPU, and turns back there. In a
// bed without its shared file system, which does not survive it.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include "hwv/kvm.hpp"
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

bool write_file(const char *path, const char *text) {
    std::ofstream file(path);
    file << text << std::flush;
    return file.good();
}

// A VM that owns the CPUs, or rides on KVM's; -1: not here.
int create_vm(bool ride) {
    if (!ride) return raw::create_vm();
    const hwv::Fd kvm = hwv::empty_kvm_vm();
    if (!kvm) return -1;
    const int device = raw::open_device();
    const hwv_create_vm request{.flags = HWV_VM_RIDE, .name = "rider", .kvm_fd = kvm.get()};
    const long vm = raw::call(device, HWV_CREATE_VM, &request);
    ::close(device);
    return static_cast<int>(vm);
}

void check(const std::string &name, bool ride) {
    const int vm = create_vm(ride);
    if (vm < 0) return skip(name, "no VM: " + std::to_string(vm));
    raw::map_reset_page(vm, raw::loop_for_ever);
    const int vcpu = raw::create_vcpu(vm);
    hwv_run *run = raw::map_run(vcpu);
    std::atomic<int> bad{0};
    std::atomic<bool> stop{false};
    std::thread runner([&] {
        while (!stop) {
            long result = raw::call(vcpu, HWV_RUN); // EINTR: frozen
            if (result != -EINTR && (result != 0 || run->exit.reason != HWV_EXIT_KICKED)) ++bad;
        }
    });
    for (int i = 0; i < 3; ++i) {
        report(name + "/suspend_" + std::to_string(i), write_file("/sys/power/state", "mem"),
               "the kernel refused");
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        raw::call(vcpu, HWV_KICK);
    }
    stop = true;
    raw::call(vcpu, HWV_KICK);
    runner.join();
    expect(name + "/runs_that_ended_badly", bad, 0);
    ::munmap(run, HWV_RUN_PAGE_SIZE);
    ::close(vcpu);
    ::close(vm);
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("suspend", "this machine cannot run guests");
        return 0;
    }
    write_file("/sys/module/suspend/parameters/pm_test_delay", "0");
    if (!write_file("/sys/power/pm_test", "core")) {
        skip("suspend", "this kernel has no suspend test mode");
        return 0;
    }
    check("own", false);
    check("ride", true);
    return verdict();
}
