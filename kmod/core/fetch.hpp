// SPDX-License-Identifier: GPL-2.0-only
// fetch.hpp - the instruction at RIP: by the CPU's own bytes where it hands them over, else by
// walking the guest's tables; and moving RIP behind it.
#pragma once
#include "core/vcpu_of.hpp"

namespace hwv {

// Guest memory as the walker reads it. First what is present, without sleeping: that is nearly
// always enough.
class GuestWords {
  public:
    GuestWords(Memory &memory, SlotCache &cache, bool atomic)
        : memory_{memory}, cache_{cache}, atomic_{atomic} {}
    std::optional<std::uint64_t> read64(std::uint64_t gpa) {
        std::uint64_t word;
        if (!memory_.read(gpa, &word, 8, cache_, atomic_)) return std::nullopt;
        return word;
    }

  private:
    Memory &memory_;
    SlotCache &cache_;
    bool atomic_;
};

// Up to 15 bytes from linear address `linear`; fewer where the next page is not there.
inline Fetched fetch_linear(Vcpu &v, const npt::GuestPaging &paging, std::uint64_t linear,
                            npt::Access access, bool atomic) {
    Fetched out;
    GuestWords words{v.memory, v.slot_cache, atomic};
    npt::Walker<GuestWords> walker{paging, words};
    while (out.count < 15) {
        const std::uint64_t at = linear + out.count;
        const npt::Translation t = walker.translate(at, access);
        if (t.status != npt::WalkStatus::ok) break;
        const std::uint64_t left = npt::page_size - (at & (npt::page_size - 1));
        const auto part =
            static_cast<std::uint8_t>(left < 15u - out.count ? left : 15u - out.count);
        if (!v.memory.read(t.gpa, out.bytes + out.count, part, v.slot_cache, atomic)) break;
        out.count = static_cast<std::uint8_t>(out.count + part);
    }
    return out;
}

// Where code is that the CPU has just fetched: it has checked all rights, so only addresses are
// followed. Covers long mode with four levels and no paging; what is left is for the full walker.
template <Backend B>
[[gnu::always_inline]] inline std::optional<std::uint64_t> VcpuOf<B>::locate(std::uint64_t linear) {
    if (!(backend.cr0() & cr0::pg)) return linear;
    if (!long_mode(backend.efer()) || (backend.cr4() & cr4::la57)) return std::nullopt;
    __u64 entry = backend.cr3();
    const npt::MemorySlot *slot =
        memory.find((entry & npt::pte::address) >> npt::page_shift, slot_cache);
    if (!slot) return std::nullopt;
    const int shift = hwv_host_user_walk_atomic(slot->hva, slot->size, slot->gpa, linear, &entry);
    if (shift < 0) return std::nullopt;
    const std::uint64_t offset = (1ull << shift) - 1;
    return (entry & npt::pte::address & ~offset) | (linear & offset);
}

// The common case in few steps: all in one page, everything present.
template <Backend B>
[[gnu::always_inline]] inline bool VcpuOf<B>::fetch_present(std::uint64_t linear, Fetched &out) {
    if ((linear & (npt::page_size - 1)) > npt::page_size - sizeof(out.bytes)) return false;
    const auto gpa = locate(linear);
    if (!gpa || !memory.read_code(*gpa, out.bytes, slot_cache)) return false;
    out.count = 15;
    return true;
}

template <Backend B>
Fetched VcpuOf<B>::fetch() {
    Fetched out;
    if (const std::uint8_t *given = backend.instruction_bytes(raw); given && given[0]) {
        out.count = given[0] < 15 ? given[0] : 15;
        for (unsigned i = 0; i < out.count; ++i)
            out.bytes[i] = given[1 + i];
        return out;
    }
    const std::uint64_t linear =
        wide() ? backend.rip() : (backend.segment(HWV_CS).base + backend.rip()) & 0xffff'ffff;
    if (fetch_present(linear, out)) return out;
    const npt::GuestPaging paging = guest_paging();
    const npt::Access access{.kind = npt::AccessKind::fetch, .user = backend.cpl() == 3};
    out = fetch_linear(*this, paging, linear, access, true);
    if (out.count) return out;
    MaySleep scope{*this};
    return fetch_linear(*this, paging, linear, access, false);
}

template <Backend B>
std::optional<Instruction> VcpuOf<B>::instruction(ExitReason reason) {
    const CodeSize size = code_size();
    const Fetched f = fetch();
    auto i = decode_instruction(f.bytes, f.count, size);
    if (!i || !matches(*i, reason)) return std::nullopt;
    return i;
}

template <Backend B>
std::uint8_t VcpuOf<B>::measure(ExitReason &reason) {
    const CodeSize size = code_size();
    const Fetched f = fetch();
    if (const std::uint8_t length = plain_length(f.bytes, reason); length && length <= f.count)
        return length;
    const auto i = decode_instruction(f.bytes, f.count, size);
    if (!i || !matches(*i, reason)) return 0;
    if (i->operation == Operation::rdtscp) reason = HWV_EXIT_RDTSCP;
    return i->length;
}

// Architecturally an instruction that completes ends the STI and MOV SS shadows, clears RF and,
// with TF, traps.
template <Backend B>
[[gnu::always_inline]] inline void VcpuOf<B>::advance(std::uint8_t length) {
    const std::uint64_t rip = backend.rip();
    std::uint64_t next = rip + length;
    if (((next ^ rip) >> 32) && !wide()) [[unlikely]]
        next &= 0xffff'ffff;
    backend.set_rip(next);
    if (backend.shadow()) backend.set_shadow(0);
    const std::uint64_t flags = backend.rflags();
    if (flags & rflags::rf) backend.set_rflags(flags & ~rflags::rf);
    if (!(flags & rflags::tf)) return;
    constexpr std::uint64_t single_step = 1u << 14; // DR6.BS
    enter_debug_handler(single_step);
    backend.inject(exception(vector::debug));
}

// Intel SDM "General-Detect Exception Condition": GD is cleared, that the handler can reach the
// debug registers. An event that is injected changes neither register by itself.
template <Backend B>
void VcpuOf<B>::enter_debug_handler(std::uint64_t dr6) {
    constexpr std::uint64_t general_detect = 1u << 13; // DR7.GD
    backend.set_debug(6, backend.debug(6) | dr6);
    const std::uint64_t dr7 = backend.debug(7);
    if (dr7 & general_detect) backend.set_debug(7, dr7 & ~general_detect);
}

template <Backend B>
Outcome VcpuOf<B>::raise(const Event &exception) {
    const Event first = backend.injecting();
    if (first.type == HWV_EVENT_INTERRUPT)
        deferred = first; // it comes again when the guest can take it
    const Event event = first.type == HWV_EVENT_EXCEPTION ? combine(first, exception) : exception;
    if (!event) return shutdown(Exit{.reason = HWV_EXIT_SHUTDOWN});
    if (is_fault(event)) backend.set_rflags(backend.rflags() | rflags::rf);
    backend.inject(event);
    check_events = true;
    return Outcome::resume_same;
}

template <Backend B>
Outcome VcpuOf<B>::shutdown(const Exit &exit) {
    if (mp_state != HWV_MP_SHUTDOWN) hwv_host_tell_triple_fault(host, id, backend.rip());
    mp_state = HWV_MP_SHUTDOWN;
    backend.inject({});
    leave(HWV_EXIT_SHUTDOWN, exit);
    wanted |= HWV_REGS_ALL;
    return Outcome::to_user;
}

template <Backend B>
Outcome VcpuOf<B>::fail(const Exit &exit, hwv_error code, int error, std::uint64_t detail) {
    leave(HWV_EXIT_ERROR, exit).error = {
        .code = static_cast<__u32>(code), .code2 = error, .detail = detail, .insn = {}};
    wanted |= HWV_REGS_ALL;
    return Outcome::to_user;
}

template <Backend B>
[[gnu::always_inline]] inline hwv_exit &VcpuOf<B>::leave(std::uint32_t reason, const Exit &exit) {
    hwv_exit &e = run->exit;
    e.reason = reason;
    e.rip = backend.rip();
    e.next_rip = exit.length ? backend.rip() + exit.length : 0;
    e.raw_reason = exit.raw_reason;
    e.raw_info[0] = exit.raw_info[0];
    e.raw_info[1] = exit.raw_info[1];
    return e;
}

} // namespace hwv
