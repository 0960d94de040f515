// SPDX-License-Identifier: GPL-2.0-only
#include "hwv/system.hpp"
#include <cstring>
#include <fcntl.h>
#include <sys/ioctl.h>
#include "hwv/error.hpp"
#include "hwv/kvm.hpp"

namespace hwv {

void fail(const std::string &attempt, int code) {
    throw Error{code, "cannot " + attempt + ": " + std::strerror(code)};
}

System::System() : fd_{::open(device_path, O_RDWR | O_CLOEXEC)} {
    if (fd_) return;
    if (errno == ENOENT)
        throw Error{ENOENT,
                    "/dev/hwv does not exist: load the module (insmod hwv.ko, or modprobe hwv)"};
    if (errno == EACCES)
        throw Error{EACCES, "no permission for /dev/hwv: become a member of group hwv, or root"};
    fail("open /dev/hwv");
}

hwv_info System::info() const {
    hwv_info info{};
    if (::ioctl(fd_.get(), HWV_GET_INFO, &info) < 0) fail("ask /dev/hwv what it can do");
    return info;
}

std::vector<hwv_cpuid_entry> System::supported_cpuid() const {
    std::vector<hwv_cpuid_entry> entries(HWV_MAX_CPUID);
    hwv_cpuid_table table{};
    table.count = static_cast<__u32>(entries.size());
    table.entries = reinterpret_cast<std::uintptr_t>(entries.data());
    if (::ioctl(fd_.get(), HWV_GET_CPUID, &table) < 0) fail("read the CPUID table");
    entries.resize(table.count);
    return entries;
}

Vm System::create_vm(const std::string &name, std::uint64_t flags, Tenure tenure) const {
    hwv_create_vm request{};
    request.flags = flags;
    if (name.size() >= sizeof request.name)
        throw Error{EINVAL, "the name '" + name + "' is longer than " +
                                std::to_string(sizeof request.name - 1) + " bytes"};
    std::memcpy(request.name, name.data(), name.size());
    Fd kvm;
    int kvm_error = 0;
    // While hwv owns, KVM would only log that it cannot.
    if (tenure == Tenure::automatic && !kvm_module().empty() && info().tenure != HWV_TENURE_OWN) {
        kvm = empty_kvm_vm();
        kvm_error = kvm ? 0 : errno;
    }
    if (kvm) {
        request.flags |= HWV_VM_RIDE;
        request.kvm_fd = kvm.get();
    }
    Fd vm{::ioctl(fd_.get(), HWV_CREATE_VM, &request)};
    if (vm) return Vm{std::move(vm)};
    const int code = errno;
    if (code == ENODEV && info().unusable)
        throw Error{code, explain(static_cast<hwv_unusable>(info().unusable))};
    if (code == EBUSY) throw Error{code, explain_busy(kvm_error)};
    fail("create a VM", code);
}

std::string explain(hwv_unusable why) {
    switch (why) {
    case HWV_USABLE: return "this machine can run guests";
    case HWV_UNUSABLE_NO_VIRT:
        return "this CPU has neither AMD-V (SVM) nor VT-x (VMX): use another machine, nested "
               "virtualization, or scripts/bed";
    case HWV_UNUSABLE_LOCKED:
        return "virtualization is switched off by the firmware: enable SVM or VT-x in the BIOS "
               "set-up and power-cycle";
    case HWV_UNUSABLE_NO_NESTED_PAGING:
        return "this CPU has no nested paging (NPT or EPT), which hwv needs";
    case HWV_UNUSABLE_BUSY:
        return "another hypervisor has SVM/VMX on: end its virtual machines, or unload its module";
    case HWV_UNUSABLE_CONFIDENTIAL:
        return "this host runs in a confidential-computing mode that hwv does not support";
    case HWV_UNUSABLE_NO_UNRESTRICTED:
        return "this CPU lacks 'unrestricted guest', which hwv needs on Intel";
    case HWV_UNUSABLE_NO_CONTROL:
        return "this CPU's VMX lacks a control that hwv needs; the kernel log names it (dmesg)";
    }
    return "this machine cannot run guests (reason " + std::to_string(why) + ")";
}

} // namespace hwv
