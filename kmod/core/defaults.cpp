// SPDX-License-Identifier: GPL-2.0-only
#include "core/defaults.hpp"
#include "core/host.hpp"
#include "cpu/native.hpp"

namespace hwv::defaults {
namespace {

struct Offer {
    hwv_cpuid_entry entries[HWV_MAX_CPUID];
    std::uint32_t count;
    cpu::CpuidTable table;
};
Offer *offer;

Status work_out(Offer &o) {
    const struct hwv_host_facts &facts = *hwv_host_facts();
    const std::uint32_t virt_ssbd = facts.speculation & HWV_SPEC_VIRT_SSBD ? 1u << 25 : 0;
    const cpu::CpuidFacts about{.read = cpu::native::cpuid,
                                .xcr0_guest = facts.xcr0_guest,
                                .phys_bits = facts.phys_bits,
                                .tsc_khz = hwv_host_tsc_khz(),
                                .spec_ctrl = (facts.speculation & HWV_SPEC_CTRL) != 0,
                                .ext8_ebx = facts.cpuid_ext8_ebx | virt_ssbd,
                                .ext21_eax = facts.cpuid_ext21_eax,
                                .ext21_ecx = facts.cpuid_ext21_ecx};
    o.count = HWV_MAX_CPUID;
    TRY(cpu::supported_cpuid(about, o.entries, o.count));
    return o.table.set(o.entries, o.count, 0);
}

} // namespace

Status init() {
    offer = host_new<Offer>();
    if (!offer) return Error::no_memory;
    const Status s = work_out(*offer);
    if (!s) exit();
    return s;
}

void exit() {
    host_delete(offer);
    offer = nullptr;
}

Status cpuid(hwv_cpuid_entry *out, std::uint32_t &count) {
    const std::uint32_t room = count;
    count = offer->count;
    if (room < offer->count) return Error::too_big;
    for (std::uint32_t i = 0; i < offer->count; ++i)
        out[i] = offer->entries[i];
    return {};
}

Status give_cpuid(cpu::CpuidTable &table, std::uint32_t apic_id) {
    return table.set(offer->entries, offer->count, apic_id);
}

cpu::MsrFacts msr_facts() {
    cpu::MsrFacts made = cpu::msr_facts(offer->table);
    made.arch_capabilities = hwv_host_facts()->arch_capabilities;
    return made;
}

std::uint64_t cr4() { return offer->table.cr4_allowed(); }

} // namespace hwv::defaults
