// SPDX-License-Identifier: GPL-2.0-only
#include "fakes/vmx_hardware.hpp"

namespace hwv::fake {

VmxHardware &vmx() {
    static VmxHardware the;
    return the;
}

void VmxHardware::reset(unsigned count) {
    cpus.assign(count, {});
    vmcs.clear();
}

std::uint64_t VmxHardware::read(std::uint16_t encoding) {
    if (!here().on || here().current == ~0ull) {
        hardware().violation("VMREAD without a current VMCS");
        return 0;
    }
    return current().fields[encoding];
}

void VmxHardware::write(std::uint16_t encoding, std::uint64_t value) {
    if (!here().on || here().current == ~0ull)
        hardware().violation("VMWRITE without a current VMCS");
    else
        current().fields[encoding] = value;
}

bool VmxHardware::vmxon(std::uint64_t) {
    if (here().on) return false;
    here().on = true;
    here().current = ~0ull;
    return true;
}

bool VmxHardware::vmxoff() {
    if (!here().on) return false;
    for (auto &[pa, v] : vmcs)
        if (v.active == hardware().cpu) hardware().violation("VMXOFF with an active VMCS");
    here().on = false;
    return true;
}

bool VmxHardware::vmclear(std::uint64_t pa) {
    if (!here().on) return false;
    FakeVmcs &v = vmcs[pa];
    if (v.active && *v.active != hardware().cpu)
        hardware().violation("VMCLEAR of a VMCS that is active on another CPU");
    v.active.reset();
    v.launched = false;
    if (here().current == pa) here().current = ~0ull;
    return true;
}

bool VmxHardware::vmptrld(std::uint64_t pa) {
    if (!here().on) return false;
    FakeVmcs &v = vmcs[pa];
    if (v.active && *v.active != hardware().cpu)
        hardware().violation("VMPTRLD of a VMCS that is active on another CPU");
    v.active = hardware().cpu;
    here().current = pa;
    return true;
}

std::optional<std::uint64_t> VmxHardware::vmptrst() {
    if (!here().on) return std::nullopt;
    return here().current;
}

bool VmxHardware::invept(bool all, std::uint64_t ept_pointer) {
    if (!here().on) return false;
    here().invalidated.push_back(all ? ~0ull : ept_pointer);
    return true;
}

} // namespace hwv::fake
