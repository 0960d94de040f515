// SPDX-License-Identifier: GPL-2.0-only
// handlers_memory.hpp - nested page faults: paging in the owner's memory, the local APIC's page,
// and accesses for user.
#pragma once
#include "core/fetch.hpp"
#include "core/handlers_io.hpp"

namespace hwv {

// The value that a plain MOV stores.
inline std::uint64_t stored_value(const Instruction &i, const Gprs &gprs) {
    if (i.operation == Operation::store_immediate) return i.immediate;
    const std::uint64_t v = gprs[i.reg] >> (i.high_byte ? 8 : 0);
    return i.size == 8 ? v : v & ((1ull << (8 * i.size)) - 1);
}

// What a plain MOV, MOVZX or MOVSX does with the value that it loaded.
inline void load_register(const Instruction &i, std::uint64_t value, Gprs &gprs) {
    if (i.size < 8) value &= (1ull << (8 * i.size)) - 1;
    if (i.sign_extend)
        value = static_cast<std::uint64_t>(static_cast<std::int64_t>(value << (64 - 8 * i.size)) >>
                                           (64 - 8 * i.size));
    if (i.high_byte)
        gprs[i.reg] = (gprs[i.reg] & ~0xff00ull) | (value & 0xff) << 8;
    else
        gprs[i.reg] = merge(gprs[i.reg], value, i.destination_size);
}

constexpr bool is_store(const Instruction &i) {
    return i.operation == Operation::store || i.operation == Operation::store_immediate;
}

// A plain MOV to or from one page, the kind of access that the fault tells.
inline bool plain(const std::optional<Instruction> &i, const FaultAccess &access) {
    if (!i || !i->memory || access.in_table_walk || (access.gpa & 0xfff) + i->size > 0x1000)
        return false;
    return access.write ? is_store(*i) : i->operation == Operation::load;
}

// The xAPIC's page, where it is in that mode.
inline bool on_apic(const Vcpu &v, std::uint64_t gpa) {
    return v.apic.present() && !v.apic.x2apic() && (v.apic.base() & ~0xfffull) == (gpa & ~0xfffull);
}

// Handlers here move RIP themselves, by the length that they decoded, and return resume_same or
// to_user.
template <Backend B>
Outcome on_apic_page(VcpuOf<B> &v, const Exit &exit, const Instruction &i) {
    const auto offset = static_cast<std::uint32_t>(exit.fault.gpa & 0xfff);
    if (!exit.fault.write) {
        load_register(i, v.apic.read(offset & ~0xfu) >> (8 * (offset & 3)), v.gprs);
        v.advance(i.length);
        return Outcome::resume_same;
    }
    v.effect = v.apic.write(offset & ~0xfu, static_cast<std::uint32_t>(stored_value(i, v.gprs)));
    v.sync_tpr();
    Exit measured = exit;
    measured.length = i.length;
    const Outcome done = v.after_apic_write(measured);
    v.advance(i.length);
    return done == Outcome::to_user_next ? Outcome::to_user : Outcome::resume_same;
}

template <Backend B>
[[gnu::always_inline]] inline void trace_mmio(const VcpuOf<B> &v, trace::Mmio type,
                                              std::uint32_t bytes, std::uint64_t data) {
    if (trace::on<__tracepoint_hwv_mmio>()) [[unlikely]]
        trace::mmio(v, type, bytes, data);
}

template <Backend B>
Outcome on_mmio(VcpuOf<B> &v, const Exit &exit) {
    const FaultAccess &access = exit.fault;
    const CodeSize size = v.code_size();
    const Fetched f = v.fetch();
    const auto i = decode_instruction(f.bytes, f.count, size);
    const bool simple = plain(i, access);
    // Registers are 32 bits wide and 16 bytes apart: other widths and alignments are for user, who
    // reads and sets single registers.
    if (simple && on_apic(v, access.gpa) && (access.gpa & 0xf) + i->size <= 4)
        return on_apic_page(v, exit, *i);
    if (simple && access.write && v.vm.ioevents() &&
        hwv_host_ioevent(v.vm.host(), 0, access.gpa, i->size, stored_value(*i, v.gprs))) {
        v.advance(i->length);
        return Outcome::resume_same;
    }
    hwv_exit_mmio &m = v.leave(HWV_EXIT_MMIO, exit).mmio;
    m.gpa = access.gpa;
    m.data = 0;
    m.decoded = simple;
    m.write = access.write;
    m.size = 0;
    m.insn_len = f.count;
    m.reserved = 0;
    __builtin_memcpy(m.insn, f.bytes, sizeof(m.insn)); // bytes past the count are zero
    if (!simple) {
        trace_mmio(v, trace::Mmio::unsatisfied, 0, 0);
        v.wanted |= HWV_REGS_GPR | HWV_REGS_SEGMENT | HWV_REGS_CONTROL;
        return Outcome::to_user;
    }
    m.size = i->size;
    if (access.write) {
        m.data = stored_value(*i, v.gprs);
        trace_mmio(v, trace::Mmio::write, i->size, m.data);
        v.advance(i->length);
        return Outcome::to_user;
    }
    v.completion = {
        .kind = Completion::Kind::mmio_read, .length = i->length, .size = i->size, .load = *i};
    return Outcome::to_user;
}

template <Backend B>
Outcome on_page_fault(VcpuOf<B> &v, const Exit &exit) {
    if (trace::on<__tracepoint_hwv_page_fault>()) [[unlikely]]
        trace::page_fault(v);
    Result<FaultResult> r{FaultResult::mmio};
    {
        MaySleep scope{v};
        r = v.machine.memory.fault(exit.fault, v.vm.host(), v.slot_cache, v.spare);
    }
    if (!r && r.error() == Error::interrupted)
        return Outcome::resume_same; // the signal ends the run
    if (!r) return v.fail(exit, HWV_ERROR_MEMORY, to_errno(r.error()), exit.fault.gpa);
    return *r == FaultResult::mmio ? on_mmio(v, exit) : Outcome::resume_same;
}

} // namespace hwv
