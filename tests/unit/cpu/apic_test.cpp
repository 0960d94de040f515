// SPDX-License-Identifier: GPL-2.0-only
// The local APIC's priorities, registers and modes against the Intel SDM, "Advanced Programmable
// Interrupt Controller (APIC)".
#include <gtest/gtest.h>
#include "cpu/apic.hpp"
#include "cpu/fake_machine.hpp"

namespace {

using namespace hwv::cpu;
using Kind = ApicEffect::Kind;

constexpr std::uint32_t svr = 0xf0, tpr = 0x80, ppr = 0xa0, eoi = 0xb0, esr = 0x280, icr = 0x300,
                        icr_high = 0x310, lvt_timer = 0x320, lint0 = 0x350, lint1 = 0x360,
                        lvt_error = 0x370;
constexpr std::uint64_t x2apic_base = 0xfee0'0c00;

class ApicTest : public testing::Test {
  protected:
    ApicTest() {
        fake::reset();
        apic.set_tsc(fake::Machine::tsc_khz, 0);
        apic.reset();
    }
    void enable() { apic.write(svr, 0x1ff); }
    void to_x2apic() { ASSERT_TRUE(apic.set_base(x2apic_base | LocalApic::base_bsp)); }
    // Takes the highest deliverable interrupt as an entry would.
    unsigned serve() {
        const unsigned vector = apic.pending();
        if (vector) apic.acknowledge(static_cast<std::uint8_t>(vector));
        return vector;
    }
    bool write(std::uint32_t msr, std::uint64_t value) {
        return apic.write_msr(msr, value, effect);
    }

    LocalApic apic{0, nullptr};
    ApicEffect effect;
};

TEST_F(ApicTest, state_after_reset) {
    EXPECT_EQ(apic.base(), LocalApic::default_page | LocalApic::base_enable | LocalApic::base_bsp);
    EXPECT_EQ(apic.read(0x20), 0u);
    EXPECT_EQ(apic.read(0x30), 0x5'0014u);
    EXPECT_EQ(apic.read(svr), 0xffu);
    EXPECT_EQ(apic.read(0xe0), 0xffff'ffffu);
    EXPECT_EQ(apic.read(0xd0), 0u);
    for (std::uint32_t lvt = lvt_timer; lvt <= lvt_error; lvt += 0x10)
        EXPECT_EQ(apic.read(lvt), 0x1'0000u) << lvt;
    for (std::uint32_t bitmap = 0x100; bitmap < 0x280; bitmap += 0x10)
        EXPECT_EQ(apic.read(bitmap), 0u);
    EXPECT_EQ(apic.pending(), 0);
    EXPECT_EQ(apic.events(), 0u);
}

TEST_F(ApicTest, software_disabled_accepts_only_nmi_init_sipi) {
    EXPECT_EQ(apic.accept(0x40, false), Acceptance::refused);
    EXPECT_EQ(apic.accept({.mode = DeliveryMode::nmi}), Acceptance::accepted);
    EXPECT_EQ(apic.accept({.mode = DeliveryMode::init}), Acceptance::accepted);
    EXPECT_EQ(apic.accept({.mode = DeliveryMode::start_up, .vector = 0x9f}), Acceptance::accepted);
    std::uint8_t vector = 0;
    EXPECT_TRUE(apic.take_nmi() && apic.take_init() && apic.take_start_up(vector));
    EXPECT_EQ(vector, 0x9f);
    EXPECT_FALSE(apic.take_nmi() || apic.take_init() || apic.take_start_up(vector));
}

TEST_F(ApicTest, highest_vector_first_and_end_in_order) {
    enable();
    for (std::uint8_t vector : {0x31, 0x41, 0x45, 0xfe, 0x3f})
        EXPECT_EQ(apic.accept(vector, false), Acceptance::accepted);
    EXPECT_EQ(apic.accept(0x41, false), Acceptance::coalesced);
    EXPECT_EQ(serve(), 0xfeu);
    EXPECT_EQ(serve(), 0u);
    EXPECT_EQ(apic.read(ppr), 0xf0u);
    EXPECT_EQ(apic.write(eoi, 0).vector, 0xfe);
    EXPECT_EQ(serve(), 0x45u);
    EXPECT_EQ(serve(), 0u) << "same class";
    EXPECT_EQ(apic.accept(0x50, false), Acceptance::accepted);
    EXPECT_EQ(serve(), 0x50u) << "nested";
    EXPECT_EQ(apic.write(eoi, 0).vector, 0x50);
    EXPECT_EQ(apic.write(eoi, 0).vector, 0x45);
    EXPECT_EQ(serve(), 0x41u);
    EXPECT_EQ(apic.write(eoi, 0).vector, 0x41);
    EXPECT_EQ(serve(), 0x3fu);
    EXPECT_EQ(apic.write(eoi, 0).vector, 0x3f);
    EXPECT_EQ(serve(), 0x31u);
    EXPECT_EQ(apic.write(eoi, 0).vector, 0x31);
    EXPECT_EQ(apic.write(eoi, 0).kind, Kind::none) << "nothing in service";
    EXPECT_EQ(serve(), 0u);
    EXPECT_EQ(apic.events(), 0u);
}

TEST_F(ApicTest, level_travels_from_message_to_eoi) {
    enable();
    apic.accept(0x60, true);
    apic.accept(0x70, false);
    EXPECT_EQ(apic.read(0x1b0), 1u) << "TMR of 0x60-0x7f";
    serve();
    serve();
    auto done = apic.write(eoi, 0);
    EXPECT_EQ(done.vector, 0x70);
    EXPECT_FALSE(done.level);
    serve();
    done = apic.write(eoi, 0);
    EXPECT_EQ(done.vector, 0x60);
    EXPECT_TRUE(done.level);
}

TEST_F(ApicTest, task_priority_holds_back) {
    enable();
    apic.write(tpr, 0x45);
    apic.accept(0x4f, false);
    EXPECT_EQ(apic.pending(), 0);
    EXPECT_EQ(apic.held_by_tpr(), 0x4f);
    EXPECT_EQ(apic.events(), 0u) << "no busy loop for what cannot be delivered";
    EXPECT_EQ(apic.cr8(), 4);
    apic.set_cr8(3);
    EXPECT_EQ(apic.read(tpr), 0x30u);
    EXPECT_EQ(serve(), 0x4fu);
    EXPECT_EQ(apic.read(ppr), 0x40u);
    apic.write(tpr, 0x4a);
    EXPECT_EQ(apic.read(ppr), 0x4au) << "same class: TPR's sub-class";
    apic.write(tpr, 0x3a);
    EXPECT_EQ(apic.read(ppr), 0x40u);
}

TEST_F(ApicTest, init_keeps_base_and_id) {
    enable();
    to_x2apic();
    apic.accept(0x40, false);
    apic.init();
    EXPECT_TRUE(apic.x2apic());
    EXPECT_EQ(apic.pending(), 0);
    std::uint64_t value = 0;
    EXPECT_TRUE(apic.read_msr(0x80d, value));
    EXPECT_EQ(value, 1u);
}

// ---- registers ----

std::uint32_t esr_of(LocalApic &apic) {
    apic.write(esr, 0);
    return apic.read(esr);
}

TEST_F(ApicTest, reserved_offsets_are_errors) {
    enable();
    for (std::uint32_t offset :
         {0x000u, 0x010u, 0x040u, 0x070u, 0x290u, 0x2f0u, 0x3a0u, 0x3d0u, 0x3f0u, 0x400u, 0xff0u}) {
        EXPECT_EQ(apic.read(offset), 0u);
        EXPECT_EQ(esr_of(apic), 0x80u) << std::hex << offset << " read";
        EXPECT_EQ(apic.write(offset, ~0u).kind, Kind::none);
        EXPECT_EQ(esr_of(apic), 0x80u) << std::hex << offset << " write";
    }
    EXPECT_EQ(esr_of(apic), 0u) << "latched once";
    apic.read(0x24);
    EXPECT_EQ(esr_of(apic), 0u) << "not aligned: undefined, and harmless";
}

TEST_F(ApicTest, an_error_interrupts_once_until_esr_is_written) {
    enable();
    apic.write(lvt_error, 0x37);
    apic.read(0x40);
    apic.read(0x40);
    EXPECT_EQ(serve(), 0x37u);
    apic.write(eoi, 0);
    EXPECT_EQ(serve(), 0u);
    EXPECT_EQ(esr_of(apic), 0x80u);
    apic.read(0x40);
    EXPECT_EQ(serve(), 0x37u);
}

TEST_F(ApicTest, an_illegal_error_vector_does_not_recurse) {
    enable();
    apic.write(lvt_error, 0x03);
    EXPECT_EQ(apic.accept(0x0f, false), Acceptance::refused);
    EXPECT_EQ(serve(), 0u);
    EXPECT_EQ(esr_of(apic), 0x40u);
}

TEST_F(ApicTest, writes_keep_defined_bits) {
    enable();
    const struct {
        std::uint32_t offset, written, read;
    } rows[] = {
        {0x20, ~0u, 0},
        {0x30, ~0u, 0x5'0014},
        {tpr, 0xffff'ff5a, 0x5a},
        {0xd0, ~0u, 0xff00'0000},
        {0xe0, 0, 0x0fff'ffff},
        {svr, 0xffff'fdff, 0x1ff},
        {0x330, ~0u, 0x1'07ff},
        {0x340, ~0u, 0x1'07ff},
        {lint0, ~0u, 0x1'a7ff},
        {lint1, ~0u, 0x1'a7ff},
        {lvt_error, ~0u, 0x1'00ff},
        {lvt_timer, 0xfffb'ffff, 0x3'00ff},
        {icr_high, ~0u, 0xff00'0000},
        {0x3e0, ~0u, 0xb},
        {ppr, ~0u, 0x5a},
        {0x390, ~0u, 0},
    };
    for (const auto &row : rows) {
        apic.write(row.offset, row.written);
        EXPECT_EQ(apic.read(row.offset), row.read) << std::hex << row.offset;
    }
    EXPECT_EQ(apic.read(eoi), 0u);
    EXPECT_EQ(esr_of(apic), 0u) << "none of them was an error";
}

TEST_F(ApicTest, software_disable_masks_and_keeps_what_is_there) {
    enable();
    apic.accept(0x40, false);
    apic.write(lint0, 0x0700);
    apic.write(svr, 0xff);
    EXPECT_EQ(apic.read(lint0), 0x1'0700u);
    apic.write(lint0, 0x0700);
    EXPECT_EQ(apic.read(lint0), 0x1'0700u) << "stays masked";
    EXPECT_EQ(serve(), 0x40u) << "was requested before";
}

TEST_F(ApicTest, icr_write_makes_a_message) {
    enable();
    apic.write(icr_high, 0x0300'0000);
    const auto sent = apic.write(icr, 0x4061);
    EXPECT_EQ(sent.kind, Kind::ipi);
    EXPECT_EQ(sent.message, (InterruptMessage{.destination = 3, .vector = 0x61}));
    EXPECT_EQ(apic.read(icr), 0x4061u) << "delivery status: idle";
    EXPECT_EQ(apic.write(icr, 0x400f).kind, Kind::none);
    EXPECT_EQ(esr_of(apic), 0x20u) << "send illegal vector";
    EXPECT_EQ(apic.write(icr, 0x4500).kind, Kind::ipi) << "INIT needs no vector";
    EXPECT_EQ(apic.write(icr, 0x8500).kind, Kind::none) << "INIT de-assert";
}

TEST_F(ApicTest, arbitration_priority) {
    enable();
    EXPECT_EQ(apic.read(0x90), 0u);
    apic.write(tpr, 0x3c);
    EXPECT_EQ(apic.read(0x90), 0x3cu);
    apic.accept(0x55, false);
    EXPECT_EQ(apic.read(0x90), 0x50u);
}

// ---- x2APIC ----

TEST_F(ApicTest, mode_transitions) {
    constexpr std::uint64_t off = 0, on = 1u << 11, both = 3u << 10, page = LocalApic::default_page,
                            bsp = 1u << 8;
    const struct {
        std::uint64_t from, to;
        bool allowed;
    } rows[] = {
        {on, on, true},    {on, off, true},       {on, both, true},        {off, off, true},
        {off, on, true},   {off, both, false},    {both, both, true},      {both, off, true},
        {both, on, false}, {on, 1u << 10, false}, {both, 1u << 10, false},
    };
    for (const auto &row : rows) {
        apic.reset();
        ASSERT_TRUE(apic.set_base(page | row.from | bsp));
        EXPECT_EQ(apic.set_base(page | row.to | bsp), row.allowed)
            << std::hex << row.from << " to " << row.to;
        EXPECT_EQ(apic.base(), page | (row.allowed ? row.to : row.from) | bsp);
    }
}

TEST_F(ApicTest, base_reserved_bits_and_relocation) {
    for (std::uint64_t bad : {1ull, 0x200ull, 1ull << 48, 1ull << 63})
        EXPECT_FALSE(apic.set_base(apic.base() | bad)) << bad;
    apic.set_features({.phys_bits = 40});
    EXPECT_FALSE(apic.set_base(1ull << 40 | LocalApic::base_enable));
    EXPECT_TRUE(apic.set_base(0xff'f000'0000 | LocalApic::base_enable));
    EXPECT_EQ(apic.base(), 0xff'f000'0900u) << "the BSP bit stays";
    apic.set_features({.x2apic = false});
    EXPECT_FALSE(apic.set_base(x2apic_base));
    apic.set_features({.present = false});
    apic.reset();
    EXPECT_EQ(apic.base(), 0u);
    EXPECT_FALSE(apic.set_base(LocalApic::default_page | LocalApic::base_enable));
}

TEST_F(ApicTest, disabling_resets) {
    enable();
    apic.accept(0x40, false);
    apic.write(tpr, 0x20);
    ASSERT_TRUE(apic.set_base(LocalApic::default_page));
    EXPECT_FALSE(apic.present());
    EXPECT_EQ(apic.pending(), 0);
    ASSERT_TRUE(apic.set_base(LocalApic::default_page | LocalApic::base_enable));
    EXPECT_EQ(apic.read(svr), 0xffu);
    EXPECT_EQ(apic.read(tpr), 0u);
}

TEST_F(ApicTest, x2apic_registers) {
    enable();
    apic.write(icr_high, 0x0500'0000);
    std::uint64_t value = 0;
    EXPECT_FALSE(apic.read_msr(0x802, value)) << "xAPIC mode";
    EXPECT_FALSE(write(0x808, 0));
    to_x2apic();
    EXPECT_EQ(apic.read(svr), 0x1ffu) << "state survives the change";
    EXPECT_TRUE(apic.read_msr(0x830, value));
    EXPECT_EQ(value >> 32, 0u) << "ICR high does not";
    for (std::uint32_t msr = 0x800; msr < 0x900; ++msr) {
        const std::uint32_t n = msr - 0x800;
        const bool bitmap = n >= 0x10 && n <= 0x27, lvt = n >= 0x32 && n <= 0x37;
        const bool both =
            n == 0x08 || n == 0x0f || n == 0x28 || n == 0x30 || n == 0x38 || n == 0x3e || lvt;
        const bool readable =
            both || bitmap || n == 0x02 || n == 0x03 || n == 0x0a || n == 0x0d || n == 0x39;
        const bool writable = both || n == 0x0b || n == 0x3f;
        EXPECT_EQ(apic.read_msr(msr, value), readable) << std::hex << msr;
        const std::uint64_t harmless = n == 0x0f ? 0x1ff : n == 0x30 || n == 0x3f ? 0x61 : 0;
        EXPECT_EQ(write(msr, harmless), writable) << std::hex << msr;
    }
}

TEST_F(ApicTest, x2apic_reserved_bits_fault) {
    to_x2apic();
    const struct {
        std::uint32_t msr;
        std::uint64_t good, bad[2];
    } rows[] = {
        {0x808, 0xff, {0x100, 1ull << 32}},
        {0x80b, 0, {1, 1ull << 32}},
        {0x80f, 0x3ff, {0x400, 1ull << 32}},
        {0x828, 0, {1, 0x80}},
        {0x830, 0xffff'ffff'000c'cf61, {0x2061, 0x10'0061}},
        {0x832, 0x4'00ff, {0x8'0000, 0x100}},
        {0x833, 0x1'07ff, {0x2000, 0x800}},
        {0x835, 0x1'a7ff, {0x2'0000, 0x800}},
        {0x837, 0x1'00ff, {0x700, 0x2'0000}},
        {0x838, 0xffff'ffff, {1ull << 32, 1ull << 63}},
        {0x83e, 0xb, {4, 0x10}},
        {0x83f, 0xff, {0x100, 1ull << 32}},
    };
    for (const auto &row : rows) {
        EXPECT_TRUE(write(row.msr, row.good)) << std::hex << row.msr;
        for (std::uint64_t bad : row.bad)
            EXPECT_FALSE(write(row.msr, bad)) << std::hex << row.msr << ' ' << bad;
    }
    EXPECT_FALSE(write(0x802, 0)) << "the id";
    EXPECT_FALSE(write(0x80d, 1)) << "the logical id";
    EXPECT_FALSE(write(0x831, 0)) << "no ICR high";
    apic.set_features({.tsc_deadline = false});
    EXPECT_FALSE(write(0x832, 0x4'00ec));
}

TEST_F(ApicTest, x2apic_ids) {
    LocalApic other{0x25, nullptr};
    other.reset();
    ASSERT_TRUE(other.set_base(x2apic_base));
    std::uint64_t value = 0;
    EXPECT_TRUE(other.read_msr(0x802, value));
    EXPECT_EQ(value, 0x25u);
    EXPECT_TRUE(other.read_msr(0x80d, value));
    EXPECT_EQ(value, 0x2'0020u);
    EXPECT_EQ(other.base() & LocalApic::base_bsp, 0u);
}

TEST_F(ApicTest, self_ipi_leaves_icr_alone) {
    to_x2apic();
    EXPECT_TRUE(write(0x830, 0x0000'0002'0000'0061));
    EXPECT_TRUE(write(0x83f, 0x71));
    EXPECT_EQ(effect.message, (InterruptMessage{.shorthand = Shorthand::self, .vector = 0x71}));
    std::uint64_t value = 0;
    EXPECT_TRUE(apic.read_msr(0x830, value));
    EXPECT_EQ(value, 0x0000'0002'0000'0061u);
    EXPECT_TRUE(write(0x83f, 0x05));
    EXPECT_EQ(effect.kind, Kind::none);
    EXPECT_TRUE(write(0x828, 0));
    EXPECT_TRUE(apic.read_msr(0x828, value));
    EXPECT_EQ(value, 0x20u) << "send illegal vector";
}

// ---- ExtINT, NMI, LINT ----

TEST_F(ApicTest, extint_passes_by_lint0_or_without_apic) {
    std::uint8_t vector = 0;
    ASSERT_TRUE(apic.offer_extint(0x20));
    EXPECT_FALSE(apic.offer_extint(0x21)) << "one is kept";
    EXPECT_FALSE(apic.extint_ready()) << "LINT0 is masked after reset";
    EXPECT_FALSE(apic.wakes(true, true));
    enable();
    apic.write(lint0, 0x0700);
    EXPECT_TRUE(apic.extint_ready() && apic.wakes(true, true) && apic.ends_halt(true, true));
    EXPECT_FALSE(apic.wakes(false, true)) << "IF";
    EXPECT_TRUE(apic.take_extint(vector));
    EXPECT_EQ(vector, 0x20);
    EXPECT_FALSE(apic.take_extint(vector));
    apic.write(lint0, 0x0030);
    ASSERT_TRUE(apic.offer_extint(0x22));
    EXPECT_FALSE(apic.extint_ready()) << "LINT0 is fixed";
    ASSERT_TRUE(apic.set_base(LocalApic::default_page));
    EXPECT_TRUE(apic.take_extint(vector)) << "APIC disabled";
    EXPECT_EQ(vector, 0x22);
    ASSERT_TRUE(apic.offer_extint(0x23));
    EXPECT_TRUE(apic.cancel_extint());
    EXPECT_FALSE(apic.cancel_extint());
    EXPECT_FALSE(apic.take_extint(vector));
}

TEST_F(ApicTest, two_nmis_are_kept) {
    const InterruptMessage nmi{.mode = DeliveryMode::nmi};
    EXPECT_EQ(apic.accept(nmi), Acceptance::accepted);
    EXPECT_EQ(apic.accept(nmi), Acceptance::accepted);
    EXPECT_EQ(apic.accept(nmi), Acceptance::coalesced);
    EXPECT_EQ(apic.nmis(), 2);
    EXPECT_TRUE(apic.wakes(false, true));
    EXPECT_FALSE(apic.wakes(true, false)) << "one is in service";
    EXPECT_TRUE(apic.take_nmi());
    EXPECT_TRUE(apic.take_nmi());
    EXPECT_FALSE(apic.take_nmi());
    EXPECT_EQ(apic.events(), 0u);
    apic.set_nmis(7);
    EXPECT_EQ(apic.nmis(), 2);
    apic.set_nmis(0);
    EXPECT_FALSE(apic.wakes(true, true));
}

TEST_F(ApicTest, lint_pins) {
    EXPECT_EQ(apic.lint(1), Acceptance::refused) << "masked";
    enable();
    apic.write(lint1, 0x0400);
    EXPECT_EQ(apic.lint(1), Acceptance::accepted);
    EXPECT_TRUE(apic.take_nmi());
    apic.write(lint0, 0x0044);
    EXPECT_EQ(apic.lint(0), Acceptance::accepted);
    EXPECT_EQ(serve(), 0x44u);
    apic.write(lint0, 0x0700);
    EXPECT_EQ(apic.lint(0), Acceptance::refused) << "ExtINT comes with its vector";
}

TEST_F(ApicTest, what_tpr_holds_back_does_not_end_a_halt) {
    enable();
    apic.write(tpr, 0x50);
    apic.accept(0x45, false);
    EXPECT_FALSE(apic.ends_halt(true, true));
    EXPECT_FALSE(apic.wakes(true, true));
    apic.accept(0x61, false);
    EXPECT_TRUE(apic.wakes(true, true) && apic.ends_halt(true, true));
    EXPECT_FALSE(apic.ends_halt(false, true));
}

TEST_F(ApicTest, an_eoi_asks_for_a_look_where_something_waits) {
    enable();
    (void)apic.accept(0x51, false);
    EXPECT_EQ(serve(), 0x51u);
    EXPECT_EQ(serve(), 0u);
    apic.write(eoi, 0);
    EXPECT_EQ(apic.events(), 0u);
    (void)apic.accept(0x51, false);
    EXPECT_EQ(serve(), 0x51u);
    (void)apic.accept(0x52, false);
    EXPECT_EQ(serve(), 0u) << "of the class in service";
    EXPECT_EQ(apic.events(), 0u);
    apic.write(eoi, 0);
    EXPECT_EQ(serve(), 0x52u);
}

TEST_F(ApicTest, sole_in_service) {
    enable();
    apic.accept(0x61, false);
    EXPECT_FALSE(apic.sole_in_service(0x61)) << "only requested";
    serve();
    EXPECT_TRUE(apic.sole_in_service(0x61));
    apic.accept(0x41, false);
    EXPECT_FALSE(apic.sole_in_service(0x61)) << "another waits";
    apic.accept(0x71, false);
    serve();
    EXPECT_FALSE(apic.sole_in_service(0x71)) << "nested";
}

} // namespace
