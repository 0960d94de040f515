// SPDX-License-Identifier: GPL-2.0-only
// Who owns the CPUs, with KVM beside hwv, where KVM turns virtualization on with its first VM: the
// second one is refused, neither is disturbed, and each can start once the other ended.
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

long create_hwv_vm(int device) {
    hwv_create_vm request{};
    return raw::call(device, HWV_CREATE_VM, &request);
}

long create_kvm_vm(int kvm) { return raw::call(kvm, KVM_CREATE_VM); }

// 6.12 made it a choice; earlier kernels know no other way.
bool kvm_enables_with_first_vm() {
    std::FILE *choice = std::fopen("/sys/module/kvm/parameters/enable_virt_at_load", "r");
    if (!choice) return true;
    const bool at_load = std::fgetc(choice) == 'Y';
    std::fclose(choice);
    return !at_load;
}

// KVM's own words for a CPU that it cannot have; the second since 6.12.
void expect_refused(const std::string &name, long got) {
    report(name, got == -EBUSY || got == -EIO, std::to_string(got));
}

// A guest runs and comes back when kicked.
bool runs(int vcpu, const hwv_run *run) {
    return raw::call(vcpu, HWV_KICK) == 0 && raw::call(vcpu, HWV_RUN) == 0 &&
           run->exit.reason == HWV_EXIT_KICKED;
}

void check_hwv_first(int device, int kvm) {
    int vm = static_cast<int>(create_hwv_vm(device));
    raw::map_reset_page(vm, raw::loop_for_ever);
    int vcpu = raw::create_vcpu(vm);
    hwv_run *run = raw::map_run(vcpu);
    expect_refused("kvm_is_refused", create_kvm_vm(kvm));
    report("hwv_runs_on", runs(vcpu, run), "the guest did not run");
    ::close(vcpu);
    expect_refused("kvm_is_refused_while_vm_is_open", create_kvm_vm(kvm));
    ::munmap(run, HWV_RUN_PAGE_SIZE);
    ::close(vm);
    long after = create_kvm_vm(kvm);
    report("kvm_starts_afterwards", after >= 0, std::to_string(after));
    ::close(static_cast<int>(after));
}

void check_kvm_first(int device, int kvm) {
    int vm = static_cast<int>(create_kvm_vm(kvm));
    expect("hwv_is_refused", create_hwv_vm(device), -EBUSY);
    expect("hwv_is_refused_again", create_hwv_vm(device), -EBUSY);
    long vcpu = raw::call(vm, KVM_CREATE_VCPU, nullptr);
    report("kvm_works_on", vcpu >= 0, std::to_string(vcpu)); // hwv did not switch its CPUs off
    long second = create_kvm_vm(kvm);
    report("kvm_second_vm", second >= 0, std::to_string(second));
    ::close(static_cast<int>(second));
    ::close(static_cast<int>(vcpu));
    ::close(vm);
    long after = create_hwv_vm(device);
    report("hwv_starts_afterwards", after >= 0, std::to_string(after));
    ::close(static_cast<int>(after));
}

} // namespace

int main() {
    int kvm = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (!raw::can_run() || kvm < 0 || !kvm_enables_with_first_vm()) {
        skip("owner",
             "needs guests, /dev/kvm, and a KVM that turns virtualization on with its first VM");
        return 0;
    }
    int device = raw::open_device();
    check_hwv_first(device, kvm);
    check_kvm_first(device, kvm);
    check_hwv_first(device, kvm);
    return verdict();
}
