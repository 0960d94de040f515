// SPDX-License-Identifier: GPL-2.0-only
#include "fakes/vmx_hardware.hpp"
#include "core/guest_state.hpp"

namespace hwv::fake {

namespace {
constexpr std::uint64_t none = ~0ull, page = 4096;
constexpr std::uint32_t no_vpid = ~0u;
std::uint32_t revision_at(std::uint64_t pa) { return *reinterpret_cast<const std::uint32_t *>(pa); }
} // namespace

VmxHardware &vmx() {
    static VmxHardware the;
    return the;
}

// Each CPU has tables of its own: Intel SDM "TSS Descriptor in 64-bit mode".
void VmxHardware::reset(unsigned count) {
    *this = VmxHardware{};
    cpus.assign(count, {});
    for (unsigned i = 0; i < count; i++) {
        VmxCpu &c = cpus[i];
        c.tr_base = 0xffff'fe01'2345'6000 + i * page;
        c.idt = 0xffff'fe00'0000'0000 + i * page;
        c.gdt[c.tr / 8] =
            0x8b00'0000'206f | (c.tr_base & 0xff'ffff) << 16 | (c.tr_base >> 24 & 0xff) << 56;
        c.gdt[c.tr / 8 + 1] = c.tr_base >> 32;
    }
}

std::uint64_t VmxHardware::read(std::uint16_t encoding) {
    if (!here().on || here().current == none) {
        hardware().violation("VMREAD without a current VMCS");
        return 0;
    }
    return current().fields[encoding];
}

void VmxHardware::write(std::uint16_t encoding, std::uint64_t value) {
    if (!here().on || here().current == none)
        hardware().violation("VMWRITE without a current VMCS");
    else
        current().fields[encoding] = value;
}

bool VmxHardware::vmxon(std::uint64_t pa) {
    if (!(here().cr4 & cr4::vmxe)) {
        hardware().violation("VMXON with CR4.VMXE clear");
        return false;
    }
    if (here().on || pa % page || revision_at(pa) != revision) return false;
    here().on = true;
    here().region = pa;
    here().current = none;
    return true;
}

bool VmxHardware::vmxoff() {
    if (!here().on) return false;
    for (auto &[pa, v] : vmcs)
        if (v.active == hardware().cpu) hardware().violation("VMXOFF with an active VMCS");
    here().on = false;
    here().region = here().current = none;
    return true;
}

bool VmxHardware::vmclear(std::uint64_t pa) {
    if (!here().on || pa % page || pa == here().region) return false;
    FakeVmcs &v = vmcs[pa];
    if (v.active && *v.active != hardware().cpu)
        hardware().violation("VMCLEAR of a VMCS that is active on another CPU");
    v.active.reset();
    v.launched = false;
    if (here().current == pa) here().current = none;
    return true;
}

bool VmxHardware::vmptrld(std::uint64_t pa) {
    if (!here().on || pa % page || pa == here().region || revision_at(pa) != revision) return false;
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

// "INVEPT - Invalidate Translations Derived from EPT": the descriptor's pointer is checked as at VM
// entry, and all VPIDs lose what they have of that root.
bool VmxHardware::invept(bool all, std::uint64_t ept_pointer) {
    if (!here().on) return false;
    here().invalidated.push_back(all ? none : ept_pointer);
    if (!all && (ept_pointer & (page - 1) & ~0x40ull) != (3 << 3 | 6)) {
        hardware().violation("INVEPT with an invalid EPT pointer");
        return false;
    }
    std::erase_if(here().translations, [&](const auto &entry) {
        return all || entry.first.second == (ept_pointer & ~(page - 1));
    });
    return true;
}

void VmxHardware::run_tagged(std::uint32_t vpid, std::uint64_t ept_pointer) {
    const std::uint64_t root = ept_pointer & ~(page - 1);
    auto &cached = here().translations;
    if (!vpid) // "Operations that Invalidate Cached Mappings": without VPIDs VM entries do
        std::erase_if(cached, [](const auto &entry) { return entry.first.first == 0; });
    for (const std::uint32_t tag : {vpid, no_vpid})
        if (cached.emplace(std::pair{tag, root}, tables[root]).first->second != tables[root])
            hardware().violation("a guest ran on translations that its tables no longer have");
    hardware().learn(root);
}

void VmxHardware::memory_freed(std::uint64_t pa) {
    if (const auto found = vmcs.find(pa); found != vmcs.end()) {
        if (found->second.active) hardware().violation("an active VMCS was freed");
        vmcs.erase(found);
    }
    for (const VmxCpu &cpu : cpus)
        if (cpu.region == pa) hardware().violation("VMXON's region was freed with VMX on");
}

HostImage VmxHardware::host_image() {
    const HardwareCpu &h = hardware().here();
    const VmxCpu &v = here();
    HostImage image{h.msrs, {}, h.xcr0, v.cr0, v.cr3, v.cr4, v.current, h.ldt, v.segments, v.on};
    for (const std::uint32_t command : {0x49u, 0x10bu})
        image.msrs.erase(command);
    if (h.dr[7] & 0xff)
        image.dr.assign(h.dr, h.dr + 4); // else Linux writes them before it uses them
    image.dr.insert(image.dr.end(), {h.dr[6], h.dr[7]});
    return image;
}

} // namespace hwv::fake
