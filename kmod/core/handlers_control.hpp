// SPDX-License-Identifier: GPL-2.0-only
// handlers_control.hpp - writes to control registers and XCR0 that the guest is not left alone
// with.
#pragma once
#include "core/fetch.hpp"
#include "core/handlers_io.hpp"

namespace hwv {

// The four entries at CR3 for the CPU's registers, where it has such. False: one is reserved, or
// there is no memory; those have become not present.
template <Backend B>
bool VcpuOf<B>::read_page_directories(std::uint64_t cr3, std::uint64_t (&entries)[4]) {
    const std::uint64_t gpa = cr3 & 0xffff'ffe0;
    Status got = memory.read(gpa, entries, sizeof entries, slot_cache, true);
    if (!got) {
        MaySleep scope{*this};
        got = memory.read(gpa, entries, sizeof entries, slot_cache, false);
    }
    bool valid = static_cast<bool>(got);
    for (std::uint64_t &entry : entries) {
        if (got && page_directory_valid(entry, limits)) continue;
        entry = 0;
        valid = false;
    }
    return valid;
}

template <Backend B>
bool VcpuOf<B>::load_page_directories(const PagingRegisters &next, Unfit unfit) {
    if constexpr (KeepsPageDirectories<B>) {
        if (!pae_paging(next)) return true;
        std::uint64_t entries[4] = {};
        if (!read_page_directories(next.cr3, entries) && unfit == Unfit::refused) return false;
        backend.set_page_directory_pointers(entries);
    }
    return true;
}

template <Backend B>
Outcome write_cr0(VcpuOf<B> &v, std::uint64_t value) {
    if (value >> 32) return v.gp();
    const std::uint64_t to = (value & cr0::defined) | cr0::et;
    const PagingRegisters now = v.paging();
    if (!cr0_change_allowed(now, to)) return v.gp();
    PagingRegisters next = now;
    next.cr0 = to;
    next.efer = efer_after(next);
    if (loads_page_directories(now, next) && !v.load_page_directories(next)) return v.gp();
    v.backend.set_cr0(to);
    v.backend.set_efer(next.efer);
    v.backend.flush_translations();
    return Outcome::resume_next;
}

template <Backend B>
Outcome write_cr4(VcpuOf<B> &v, std::uint64_t value) {
    const PagingRegisters now = v.paging();
    if (!cr4_change_allowed(now, value, v.limits)) return v.gp();
    PagingRegisters next = now;
    next.cr4 = value;
    if (loads_page_directories(now, next) && !v.load_page_directories(next)) return v.gp();
    v.backend.set_cr4(value);
    v.backend.flush_translations();
    return Outcome::resume_next;
}

// Bit 63, with PCIDs: keep translations; dropping them is allowed too.
template <Backend B>
Outcome write_cr3(VcpuOf<B> &v, std::uint64_t value) {
    PagingRegisters now = v.paging();
    now.cr3 = now.cr4 & cr4::pcide ? value & ~(1ull << 63) : value;
    if (now.cr3 >> v.limits.phys_bits || !v.load_page_directories(now)) return v.gp();
    v.backend.set_cr3(now.cr3);
    v.backend.flush_translations();
    return Outcome::resume_next;
}

template <Backend B>
Outcome write_control(VcpuOf<B> &v, unsigned number, std::uint64_t value) {
    switch (number) {
    case 0: return write_cr0(v, value);
    case 3: return write_cr3(v, value);
    case 4: return write_cr4(v, value);
    case 8:
        if (value & ~0xfull) return v.gp();
        v.set_tpr(static_cast<std::uint8_t>(value));
        return Outcome::resume_next;
    default: return v.ud();
    }
}

template <Backend B>
std::optional<std::uint64_t> read_control(VcpuOf<B> &v, unsigned number) {
    switch (number) {
    case 0: return v.backend.cr0();
    case 2: return v.backend.cr2();
    case 3: return v.backend.cr3();
    case 4: return v.backend.cr4();
    case 8: return v.backend.tpr();
    default: return std::nullopt;
    }
}

// LMSW sets PE but does not clear it, and reaches no bit above TS. AMD APM vol. 3 "LMSW".
constexpr std::uint64_t lmsw(std::uint64_t cr0_now, std::uint16_t source) {
    return (cr0_now & ~0xeull) | (source & 0xf);
}
static_assert(lmsw(1, 0) == 1 && lmsw(0xf, 0) == 1 && lmsw(0, 0xffff) == 0xf);

// The form of the instruction comes from the CPU where it decodes it, else from the bytes at RIP.
template <Backend B>
Outcome on_control_register(VcpuOf<B> &v, const Exit &exit) {
    RegisterAccess access = exit.reg;
    std::uint8_t length = exit.length, width = v.wide() ? 8 : 4;
    if (!access.decoded || !length) {
        const auto i = v.instruction(exit.reason);
        if (!i) return Outcome::resume_same;
        length = i->length;
        access.clts = i->operation == Operation::clts;
        access.lmsw = i->operation == Operation::lmsw;
        if (i->memory) return v.step_past(exit); // LMSW, SMSW
        if (i->operation == Operation::smsw) width = i->size;
        if (access.lmsw) access.source = static_cast<std::uint16_t>(v.gprs[i->reg]);
        access.write = i->operation == Operation::mov_to_cr;
        access.number = i->number;
        access.gpr = i->reg;
    }
    Outcome done = Outcome::resume_next;
    if (access.clts)
        done = write_cr0(v, v.backend.cr0() & ~cr0::ts);
    else if (access.lmsw)
        done = write_cr0(v, lmsw(v.backend.cr0(), access.source));
    else if (access.write)
        done = write_control(v, access.number, v.value(access.gpr));
    else if (const auto value = read_control(v, access.number))
        v.gprs[access.gpr] = merge(v.gprs[access.gpr], *value, width);
    else
        return v.ud();
    if (done == Outcome::resume_next) v.advance(length);
    return done == Outcome::resume_next ? Outcome::resume_same : done;
}

template <Backend B>
Outcome on_xsetbv(VcpuOf<B> &v) {
    if (!(v.backend.cr4() & cr4::osxsave)) return v.ud();
    const bool allowed = v.backend.cpl() == 0 && static_cast<std::uint32_t>(v.gprs[HWV_RCX]) == 0;
    if (!allowed || !cpu::valid_xcr0(v.edx_eax(), v.limits.xcr0)) return v.gp();
    v.xcr0 = v.edx_eax();
    v.backend.set_xcr0(v.xcr0);
    return Outcome::resume_next;
}

} // namespace hwv
