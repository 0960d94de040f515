// SPDX-License-Identifier: GPL-2.0-only
// fake_backend.hpp - a vendor whose guest is a script: each entry takes the next turn, which sees
// and changes the registers and says how the guest exits.
#pragma once
#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <map>
#include <vector>
#include "core/backend.hpp"
#include "fakes/hardware.hpp"
#include "fakes/host.hpp"
#include "npt/format_npt.hpp"

namespace hwv::test {

// No destructor: the run loop builds it in place, over the last one.
struct RawExit {
    Exit exit{};
    std::array<std::uint8_t, 16> bytes{}; // [0] = count
};

struct FakeBackend {
    using RawExit = test::RawExit;
    using TableFormat = npt::NptFormat;
    using Turn = std::function<RawExit(FakeBackend &, Gprs &)>;

    Status init(std::uint32_t) {
        reset();
        return {};
    }
    void destroy() {}
    void reset() {
        rip_ = 0xfff0;
        rflags_ = rflags::fixed;
        cr0_ = cr0::et;
        cr2_ = cr3_ = cr4_ = efer_ = 0;
        tpr_ = shadow_ = 0;
        nmi_blocked_ = false;
        event_ = {};
        segments_ = {};
        segments_[HWV_CS] = {0xffff'0000, 0xffff, 0xf000, 0x9b};
    }
    void load(LoadContext) { loaded = true; }
    void put() {
        if (!fake::host().irqs_off) fake::hardware().violation("put with irqs on");
        loaded = false;
    }
    bool reachable() const { return !cpu_off; }

    RawExit enter(Gprs &gprs) {
        fake::Host &host = fake::host();
        if (!loaded || !host.irqs_off || !host.preempt_off)
            fake::hardware().violation("entry in the wrong context");
        delivered.push_back(event_);
        event_ = {};
        if (script.empty()) {
            fake::hardware().violation("an entry more than the script has");
            return {Exit{.reason = HWV_EXIT_SHUTDOWN}, {}};
        }
        const Turn turn = script.front();
        script.pop_front();
        return turn(*this, gprs);
    }
    static constexpr Exit decode(const RawExit &raw) { return raw.exit; }
    const std::uint8_t *instruction_bytes(const RawExit &raw) const { return raw.bytes.data(); }

    std::uint64_t rip() const { return rip_; }
    void set_rip(std::uint64_t v) { rip_ = v, ++rip_moves; }
    std::uint64_t rflags() const { return rflags_; }
    void set_rflags(std::uint64_t v) { rflags_ = v; }
    std::uint64_t cr0() const { return cr0_; }
    void set_cr0(std::uint64_t v) { cr0_ = v; }
    std::uint64_t cr2() const { return cr2_; }
    void set_cr2(std::uint64_t v) { cr2_ = v; }
    std::uint64_t cr3() const { return cr3_; }
    void set_cr3(std::uint64_t v) { cr3_ = v; }
    std::uint64_t cr4() const { return cr4_; }
    void set_cr4(std::uint64_t v) { cr4_ = v; }
    std::uint8_t tpr() const { return tpr_; }
    void set_tpr(std::uint8_t v) { tpr_ = v; }
    std::uint64_t efer() const { return efer_; }
    void set_efer(std::uint64_t v) { efer_ = v; }
    unsigned cpl() const { return cpl_; }
    Segment segment(unsigned n) const { return segments_[n]; }
    void set_segment(unsigned n, const Segment &s) { segments_[n] = s; }
    std::uint16_t code_attributes() const { return segments_[HWV_CS].attributes; }
    TableRegister gdtr() const { return gdtr_; }
    void set_gdtr(const TableRegister &t) { gdtr_ = t; }
    TableRegister idtr() const { return idtr_; }
    void set_idtr(const TableRegister &t) { idtr_ = t; }
    std::uint64_t debug(unsigned n) const { return dr_[n]; }
    void set_debug(unsigned n, std::uint64_t v) { dr_[n] = v; }
    void grant_debug() {}
    std::optional<std::uint64_t> msr(std::uint32_t index) const {
        const auto found = msrs.find(index);
        return found == msrs.end() ? std::nullopt : std::optional{found->second};
    }
    bool set_msr(std::uint32_t index, std::uint64_t value) {
        if (!msrs.contains(index)) return false;
        msrs[index] = value;
        return true;
    }
    void set_xcr0(std::uint64_t) {}

    void inject(Event e) { event_ = e; }
    Event injecting() const { return event_; }
    void want_interrupt_window(bool on, std::uint8_t priority) {
        interrupt_window = on ? priority : 0;
    }
    void want_nmi_window(bool on) { nmi_window = on; }
    std::uint8_t shadow() const { return shadow_; }
    void set_shadow(std::uint8_t v) { shadow_ = v; }
    bool nmi_blocked() const { return nmi_blocked_; }
    void set_nmi_blocked(bool on) { nmi_blocked_ = on; }

    void set_page_directory_pointers(const std::uint64_t (&entries)[4]) {
        std::copy(std::begin(entries), std::end(entries), page_directories.begin());
        ++page_directories_set;
    }
    static Traps trappable() { return every_trap; }
    Status allocate_msr_map() { return no_memory ? Status{Error::no_memory} : Status{}; }
    void set_traps(const Traps &v) { traps = v, ++traps_set; }
    void step_past(ExitReason reason) { lifted = reason; }

    void set_table_root(std::uint64_t) {}
    void flush_translations() { ++flushes; }
    void set_tsc_offset(std::uint64_t) {}
    void set_tsc_ratio(std::uint64_t) {}

    std::deque<Turn> script;
    std::vector<Event> delivered; // by entry
    unsigned flushes = 0, rip_moves = 0;
    std::uint8_t interrupt_window = 0; // priority class asked for
    bool nmi_window = false, loaded = false, cpu_off = false, no_memory = false;
    Traps traps{};
    unsigned traps_set = 0;
    ExitReason lifted = HWV_EXIT_NONE;
    std::array<std::uint64_t, 4> page_directories{};
    unsigned page_directories_set = 0;
    std::map<std::uint32_t, std::uint64_t> msrs;

    std::uint64_t rip_ = 0, rflags_ = 2, cr0_ = 0, cr2_ = 0, cr3_ = 0, cr4_ = 0, efer_ = 0;
    std::uint64_t dr_[8] = {};
    std::uint8_t tpr_ = 0, shadow_ = 0;
    unsigned cpl_ = 0;
    bool nmi_blocked_ = false;
    std::array<Segment, HWV_SEGMENTS> segments_{};
    TableRegister gdtr_{}, idtr_{};
    Event event_{};
};
static_assert(Backend<FakeBackend>);
static_assert(std::is_trivially_destructible_v<RawExit>);

} // namespace hwv::test
