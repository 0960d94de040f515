// SPDX-License-Identifier: GPL-2.0-only
#include "svm/maps.hpp"
#include "svm/msr.hpp"

namespace hwv::svm {

namespace {

void fill_ones(const hwv_host_page &page, std::uint32_t order) {
    auto *words = static_cast<std::uint64_t *>(page.va);
    for (std::uint32_t i = 0; i < (4096u << order) / 8; i++)
        words[i] = ~0ull;
}

// In the VMCB, and moved by VMLOAD and VMSAVE. Not EFER (the guest must not clear SVME), not the
// TSC (the host's), not DEBUGCTL (switched only with LBR virtualization), not PAT: with nested
// paging it is the guest's G_PAT, but not every implementation (QEMU's) keeps the host's apart, and
// it is rarely touched.
constexpr std::uint32_t switched[] = {
    msr::sysenter_cs, msr::sysenter_esp, msr::sysenter_eip, msr::star,    msr::lstar,
    msr::cstar,       msr::sfmask,       msr::fs_base,      msr::gs_base, msr::kernel_gs_base,
};

} // namespace

Status MsrMap::create() {
    TRY(from_errno(hwv_host_pages_alloc(order, &page_)));
    fill_ones(page_, order);
    return {};
}

void MsrMap::destroy() {
    if (page_.va) hwv_host_pages_free(&page_, order);
    page_ = {};
}

void MsrMap::allow_all_but(const Traps &traps, const Capabilities &capabilities) {
    for (std::uint32_t index : switched)
        allow(index, !traps.reads_msr(index), !traps.writes_msr(index));
    if (capabilities.tsc_aux) // the CPU holds the guest's value while it is loaded
        allow(msr::tsc_aux, !traps.reads_msr(msr::tsc_aux), false);
    if (capabilities.v_spec_ctrl)
        allow(msr::spec_ctrl, !traps.reads_msr(msr::spec_ctrl), !traps.writes_msr(msr::spec_ctrl));
}

Status PermissionMaps::create(const Capabilities &capabilities) {
    TRY(msr_.create());
    if (Status io = from_errno(hwv_host_pages_alloc(io_order, &io_)); !io) {
        destroy();
        return io;
    }
    fill_ones(io_, io_order);
    msr_.allow_all_but({}, capabilities);
    return {};
}

void PermissionMaps::destroy() {
    msr_.destroy();
    if (io_.va) hwv_host_pages_free(&io_, io_order);
    io_ = {};
}

void MsrMap::allow(std::uint32_t index, bool read, bool write) {
    const std::uint32_t bit = msr_bit(index);
    if (bit == ~0u) return;
    std::uint8_t &byte = static_cast<std::uint8_t *>(page_.va)[bit / 8];
    const unsigned denied = (read ? 0u : 1u) | (write ? 0u : 2u);
    byte = (byte & ~(3u << bit % 8)) | denied << bit % 8;
}

} // namespace hwv::svm
