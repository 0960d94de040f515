// SPDX-License-Identifier: GPL-2.0-only
#include "vmx/maps.hpp"
#include "vmx/msr.hpp"

namespace hwv::vmx {

namespace {

// In the VMCS, but KERNEL_GS_BASE, which the CPU holds while the guest is loaded. Not EFER (LMA
// follows CR0.PG), not the TSC (by the core, with TSC_ADJUST), not STAR to SFMASK: rarely written.
constexpr std::uint32_t switched[] = {
    msr::sysenter_cs, msr::sysenter_esp, msr::sysenter_eip,   msr::pat,
    msr::fs_base,     msr::gs_base,      msr::kernel_gs_base,
};

} // namespace

Status MsrMap::create() {
    TRY(from_errno(hwv_host_pages_alloc(0, &page_)));
    auto *words = static_cast<std::uint64_t *>(page_.va);
    for (std::uint32_t i = 0; i < 4096 / 8; i++)
        words[i] = ~0ull;
    return {};
}

void MsrMap::allow_all_but(const Traps &traps, const Capabilities &capabilities) {
    for (std::uint32_t index : switched)
        allow(index, !traps.reads_msr(index), !traps.writes_msr(index));
    if (capabilities.tsc_aux) // the CPU holds the guest's value while it is loaded
        allow(msr::tsc_aux, !traps.reads_msr(msr::tsc_aux), false);
}

void MsrMap::destroy() {
    if (page_.va) hwv_host_pages_free(&page_, 0);
    page_ = {};
}

void MsrMap::allow(std::uint32_t index, bool read, bool write) {
    const std::uint32_t bit = msr_bit(index);
    if (bit == ~0u) return;
    auto *bytes = static_cast<std::uint8_t *>(page_.va);
    const auto one = static_cast<std::uint8_t>(1u << bit % 8);
    const auto set = [one](std::uint8_t &byte, bool exits) {
        byte = static_cast<std::uint8_t>(exits ? byte | one : byte & ~one);
    };
    set(bytes[bit / 8], !read);
    set(bytes[(bit + write_offset) / 8], !write);
}

} // namespace hwv::vmx
