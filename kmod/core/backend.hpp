// SPDX-License-Identifier: GPL-2.0-only
// backend.hpp - the seam: all that the core knows of a CPU vendor, on one screen. svm::Backend and
// vmx::Backend model it, one object per vCPU; tests model it with a fake. The run loop is a
// template over it, so no call through it is indirect.
//
// Residency: load() and put() bracket the time in which the vCPU's state may sit in the CPU
// (preemption notifier); every accessor below enter() is called with the vCPU loaded and preemption
// off, except before the first load() (reset state).
#pragma once
#include <concepts>
#include <cstdint>
#include <optional>
#include "core/exit.hpp"
#include "core/guest_state.hpp"
#include "core/result.hpp"
#include "core/traps.hpp"

namespace hwv {

// The sixteen general registers, indexed by hwv_gpr_index from C++ and assembly alike. All valid
// between exits.
using Gprs = std::uint64_t[HWV_GPRS];

// What a backend is told at every load.
struct LoadContext {
    std::uint32_t cpu;
    bool other_cpu;  // the vCPU ran elsewhere (or nowhere) before
    bool other_vcpu; // another vCPU, or none, was the last of hwv's on this CPU: barrier (IBPB)
                     // needed, for a guest keeps its processes' predictions apart by CPU
};

// clang-format off: the formatter does not know requirements yet
template <typename B>
concept Backend = requires(B b, const B c, Gprs &gprs, const typename B::RawExit &raw,
                           std::uint64_t u64, std::uint32_t u32, unsigned n, bool on, Event event,
                           const Segment &seg, const TableRegister &table, const Traps &traps) {
    typename B::TableFormat; // of npt/

    // life; process context
    { b.init(u32) } -> std::same_as<Status>; // the vCPU's id; allocates; state as after reset
    {b.destroy()};                           // idempotent
    {b.reset()}; // INIT's register state is the core's business, this is power-on

    // residency; preemption off
    {b.load(LoadContext{})};
    {b.put()};                               // irqs off
    { c.reachable() } -> std::same_as<bool>; // false: this CPU is off, accessors reach nothing

    // one entry; irqs off on entry and on return; NMIs taken, host state whole. Injects what
    // inject() queued. Calls hwv_host_guest_enter() and hwv_host_guest_exit() around it.
    { b.enter(gprs) } -> std::same_as<typename B::RawExit>;
    { B::decode(raw) } -> std::same_as<Exit>; // pure, constexpr
    {
        c.instruction_bytes(raw)
        } -> std::same_as<const std::uint8_t *>; // [0] = count, then bytes; nullptr: the CPU does
                                                 // not say

    // registers; set_* take what the core has validated
    { c.rip() } -> std::same_as<std::uint64_t>;
    {b.set_rip(u64)};
    { c.rflags() } -> std::same_as<std::uint64_t>;
    {b.set_rflags(u64)};
    { c.cr0() } -> std::same_as<std::uint64_t>;
    {b.set_cr0(u64)};
    { c.cr2() } -> std::same_as<std::uint64_t>;
    {b.set_cr2(u64)};
    { c.cr3() } -> std::same_as<std::uint64_t>;
    {b.set_cr3(u64)};
    { c.cr4() } -> std::same_as<std::uint64_t>;
    {b.set_cr4(u64)};
    { c.tpr() } -> std::same_as<std::uint8_t>; // CR8: 0..15
    {b.set_tpr(std::uint8_t{})};
    { c.efer() } -> std::same_as<std::uint64_t>; // as the guest sees it
    {b.set_efer(u64)};
    { c.cpl() } -> std::same_as<unsigned>;
    { c.segment(n) } -> std::same_as<Segment>; // hwv_segment_index
    {b.set_segment(n, seg)};
    { c.code_attributes() } -> std::same_as<std::uint16_t>; // of CS: hwv_segment.attributes
    { c.gdtr() } -> std::same_as<TableRegister>;
    {b.set_gdtr(table)};
    { c.idtr() } -> std::same_as<TableRegister>;
    {b.set_idtr(table)};
    { c.debug(n) } -> std::same_as<std::uint64_t>; // 0-3, 6, 7
    {b.set_debug(n, u64)};
    {b.grant_debug()}; // the guest touched DRs: give it the real ones until put()
    {
        c.msr(u32)
        }
        -> std::same_as<std::optional<std::uint64_t>>; // MSRs that the CPU or the backend switches
    { b.set_msr(u32, u64) } -> std::same_as<bool>;     // false: not one of them
    {b.set_xcr0(u64)};                                 // takes effect at the next entry

    // events
    {b.inject(event)}; // at the next entry; type NONE takes it back
    { c.injecting() } -> std::same_as<Event>;
    {b.want_interrupt_window(
        on, std::uint8_t{})}; // exit as soon as an interrupt of that priority class (vector / 16;
                              // 16: whatever the TPR says) could be taken
    {b.want_nmi_window(on)};  // ... an NMI
    { c.shadow() } -> std::same_as<std::uint8_t>; // HWV_SHADOW_*
    {b.set_shadow(std::uint8_t{})};
    { c.nmi_blocked() } -> std::same_as<bool>;
    {b.set_nmi_blocked(on)};

    // exits that not every guest has
    { B::trappable() } -> std::same_as<Traps>;        // what this CPU can
    { b.allocate_msr_map() } -> std::same_as<Status>; // process context; for traps with MSR ranges
    {b.set_traps(traps)};                             // from the next entry on; of what it can
    {b.step_past(ExitReason{})}; // one instruction without the trap that gave this reason, then
                                 // HWV_EXIT_STEP; NONE: the trap is there again

    // memory and time
    {b.set_table_root(u64)};  // physical, without the encryption mask
    {b.flush_translations()}; // before the next entry
    {b.set_tsc_offset(u64)};
    {b.set_tsc_ratio(u64)}; // cpu::TscRatio; before the first load(), for life
    // More than this, where the CPU is such: KeepsPageDirectories. And one whose CPU can end the
    // guest at a time: counts_deadlines; or take the guest's interrupts from its APIC itself:
    // delivers_interrupts, takes_posted.
    // clang-format on
};

// The CPU does not read PAE's four page directory pointers from guest memory itself.
template <typename B>
concept KeepsPageDirectories = requires(B b, const std::uint64_t (&entries)[4]) {
    b.set_page_directory_pointers(entries);
};

// From the next entry on the guest exits with HWV_EXIT_TIMER once the host's TSC reaches `tsc`, and
// then no more than it has to; 0: not. has_timer() says whether this CPU does.
template <typename B>
concept counts_deadlines = requires(B b, const B c, std::uint64_t tsc) {
    {b.set_deadline(tsc)};
    { c.has_timer() } -> std::same_as<bool>;
};

// While the guest runs the CPU works on a page with the local APIC's registers, in x2APIC mode: it
// delivers what is requested there as soon as the guest takes interrupts, and serves accesses.
template <typename B>
concept delivers_interrupts = requires(B b, const B c, const cpu::ApicSummary &summary, bool on) {
    { c.apic_page() } -> std::same_as<cpu::ApicPage *>; // null: this CPU does not. For life
    {b.deliver_from_page(on)};     // from the next entry on; off: what inject() says, alone
    {b.set_apic_summary(summary)}; // what the page does not say; before each entry that changes it
};

// And it takes what is posted there when it is notified. Then an exit takes the host's interrupt
// that made it, too: Exit::host_vector.
template <typename B>
concept takes_posted = delivers_interrupts<B> && requires(const B c) {
    { c.posted_requests() } -> std::same_as<cpu::PostedRequests *>; // null: not. For life
};

// The host's interrupt that this exit has taken, for its handler.
template <typename B>
constexpr std::uint8_t taken_vector(const Exit &exit) {
    if constexpr (takes_posted<B>)
        return exit.reason == HWV_EXIT_HOST_INTERRUPT ? exit.host_vector : 0;
    return 0;
}

} // namespace hwv
