// SPDX-License-Identifier: GPL-2.0-only
#include "hwv/kvm.hpp"
#include <cstring>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

namespace hwv {
namespace {

bool loaded(const std::string &module) {
    return ::access(("/sys/module/" + module).c_str(), F_OK) == 0;
}

} // namespace

std::string kvm_module() {
    for (const char *name : {"kvm_amd", "kvm_intel"})
        if (loaded(name)) return name;
    return {};
}

Fd empty_kvm_vm() {
    const Fd system{::open("/dev/kvm", O_RDWR | O_CLOEXEC)};
    return system ? Fd{::ioctl(system.get(), KVM_CREATE_VM, 0)} : Fd{};
}

std::string explain_busy(int kvm_error) {
    const std::string kvm = kvm_module();
    for (const auto &[module, name] : {std::pair{"vboxdrv", "VirtualBox"}, {"vmmon", "VMware"}})
        if (loaded(module))
            return std::string{"SVM/VMX is in use, by "} + name + " as it seems (module " + module +
                   "): end its virtual machines";
    if (kvm.empty())
        return "SVM/VMX is in use by another hypervisor: end its virtual machines, or unload its "
               "module";
    if (!kvm_error)
        return "KVM (module " + kvm +
               ") has SVM/VMX on: end its virtual machines, or let hwv ride "
               "beside it (hwvctl run without --own)";
    return "KVM (module " + kvm +
           ") has SVM/VMX on, and hwv cannot ride beside it without a VM of "
           "/dev/kvm: " +
           std::strerror(kvm_error) +
           (kvm_error == EACCES ? " (become a member of group kvm)" : "");
}

} // namespace hwv
