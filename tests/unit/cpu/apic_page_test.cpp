// SPDX-License-Identifier: GPL-2.0-only
// The local APIC's registers on a page on which a CPU works while the guest runs: what goes there
// before an entry, and what comes back. The tests write to the page as the CPU does, Intel SDM
// "Virtual APIC State", "Virtual-Interrupt Delivery".
#include <gtest/gtest.h>
#include <map>
#include "cpu/apic.hpp"
#include "cpu/fake_machine.hpp"

namespace {

using namespace hwv::cpu;
namespace reg = apic_reg;
using Kind = ApicEffect::Kind;

constexpr std::uint64_t x2apic_base = 0xfee0'0d00;
constexpr std::uint32_t msr(std::uint32_t offset) { return 0x800 + (offset >> 4); }

class ApicPageTest : public testing::Test {
  protected:
    ApicPageTest() {
        fake::reset();
        apic.set_tsc(fake::Machine::tsc_khz, 0);
        apic.reset();
        apic.use_page(&page);
        EXPECT_FALSE(apic.lendable());
        EXPECT_TRUE(apic.set_base(x2apic_base));
        write(reg::svr, 0x1ff);
    }
    void write(std::uint32_t offset, std::uint64_t value) {
        ASSERT_TRUE(apic.write_msr(msr(offset), value, effect));
    }
    std::uint64_t read(std::uint32_t offset) {
        std::uint64_t value = 0;
        EXPECT_TRUE(apic.read_msr(msr(offset), value));
        return value;
    }
    void set(std::uint32_t bitmap, std::uint8_t vector, bool on = true) {
        const std::uint64_t bit = 1ull << vector % 64, was = page.bits(bitmap, vector / 64);
        page.set_bits(bitmap, vector / 64, on ? was | bit : was & ~bit);
    }
    bool is_set(std::uint32_t bitmap, std::uint8_t vector) const {
        return page.bits(bitmap, vector / 64) >> vector % 64 & 1;
    }
    // As the CPU delivers.
    void deliver(std::uint8_t vector) {
        set(reg::irr, vector, false);
        set(reg::isr, vector);
    }

    ApicPage page{};
    LocalApic apic{3, nullptr};
    ApicEffect effect;
};

TEST_F(ApicPageTest, what_the_guest_may_read_is_on_the_page) {
    write(reg::tpr, 0x51);
    write(reg::lvt_first, 0x4'00ec);
    write(0x370, 0x77);
    write(reg::icr, 0x5'0000'4045);
    write(reg::divide, 0xb);
    std::map<std::uint32_t, std::uint64_t> expected;
    for (std::uint32_t offset = 0; offset < 0x400; offset += 0x10)
        if (std::uint64_t value = 0; offset != reg::ppr && apic.read_msr(msr(offset), value))
            expected[offset] = value;
    EXPECT_GE(expected.size(), 40u);
    (void)apic.lend();
    for (const auto &[offset, value] : expected)
        EXPECT_EQ(page.get(offset) | std::uint64_t{page.get(offset + 4)} << 32, value)
            << std::hex << offset;
}

TEST_F(ApicPageTest, what_arrives_goes_to_the_page_at_the_next_entry) {
    (void)apic.accept(0x41, false);
    ApicSummary summary = apic.lend();
    EXPECT_EQ(summary.requested, 0x41);
    EXPECT_EQ(summary.in_service, 0);
    EXPECT_TRUE(is_set(reg::irr, 0x41));
    EXPECT_EQ(apic.events(), 0u) << "nothing that would have to be looked at";
    EXPECT_EQ(apic.pending(), 0) << "the CPU injects it";
    EXPECT_EQ(apic.held_by_tpr(), 0);
    deliver(0x41);
    (void)apic.accept(0x62, true);
    (void)apic.accept(0x33, false);
    EXPECT_TRUE(apic.events() & apic_event::interrupt);
    EXPECT_EQ(apic.pending(), 0);
    EXPECT_FALSE(is_set(reg::irr, 0x62)) << "the CPU has the page";
    summary = apic.lend();
    EXPECT_EQ(summary.requested, 0x62);
    EXPECT_EQ(summary.in_service, 0x41);
    EXPECT_TRUE(is_set(reg::irr, 0x62) && is_set(reg::irr, 0x33) && is_set(reg::tmr, 0x62));
    EXPECT_EQ(summary.eoi_exits[1], 1ull << (0x62 - 64));
    EXPECT_EQ(summary.eoi_exits[0] | summary.eoi_exits[2] | summary.eoi_exits[3], 0u);
    (void)apic.accept(0x62, false); // edge again
    EXPECT_EQ(apic.lend().eoi_exits[1], 0u);
}

TEST_F(ApicPageTest, who_asks_gets_what_the_cpu_made_of_it) {
    (void)apic.accept(0x41, false);
    (void)apic.accept(0x52, false);
    (void)apic.lend();
    deliver(0x52);
    page.set(reg::tpr, 0x23);
    EXPECT_EQ(read(reg::tpr), 0x23u);
    EXPECT_EQ(read(reg::ppr), 0x50u);
    EXPECT_EQ(apic.read(reg::isr + 0x20), 1u << 0x12);
    EXPECT_EQ(apic.read(reg::irr + 0x20), 1u << 1);
    EXPECT_TRUE(apic.events() & apic_event::page) << "has to be lent again";
    EXPECT_EQ(apic.pending(), 0) << "0x52 is in service";
    EXPECT_EQ(apic.end_of_interrupt().vector, 0x52);
    EXPECT_EQ(apic.pending(), 0x41);
    const ApicSummary summary = apic.lend();
    EXPECT_EQ(summary.requested, 0x41);
    EXPECT_EQ(summary.in_service, 0);
    EXPECT_EQ(page.get(reg::tpr), 0x23u);
}

TEST_F(ApicPageTest, registers_that_the_cpu_does_not_know_are_written_through) {
    (void)apic.lend();
    write(reg::icr, 0x7'0000'4099);
    EXPECT_EQ(page.get(reg::icr), 0x4099u);
    EXPECT_EQ(page.get(reg::icr + 4), 7u);
    EXPECT_EQ(apic.events(), 0u) << "an IPI costs no second look";
    EXPECT_EQ(read(reg::current_count), 0u);
    EXPECT_EQ(apic.events(), 0u);
    write(0x350, 0x1'0700);
    EXPECT_TRUE(apic.events() & apic_event::page);
    (void)apic.lend();
    EXPECT_EQ(page.get(0x350), 0x1'0700u);
}

TEST_F(ApicPageTest, a_halt_ends_by_what_the_page_lets_through) {
    (void)apic.accept(0x41, false);
    (void)apic.lend();
    page.set(reg::tpr, 0x50); // the guest did
    EXPECT_FALSE(apic.ends_halt(true, true));
    (void)apic.lend();
    page.set(reg::tpr, 0);
    EXPECT_FALSE(apic.ends_halt(false, true));
    (void)apic.lend();
    EXPECT_TRUE(apic.ends_halt(true, true));
    EXPECT_TRUE(is_set(reg::irr, 0x41)) << "which stays there";
    EXPECT_EQ(apic.lend().requested, 0x41);
}

TEST_F(ApicPageTest, what_arrives_in_a_halt_ends_it_by_the_pages_priorities_and_goes_there) {
    (void)apic.lend();
    set(reg::isr, 0x52);
    EXPECT_FALSE(apic.ends_halt(true, true));
    (void)apic.accept(0x5f, false);
    EXPECT_TRUE(apic.wakes(true, true)) << "a look";
    EXPECT_FALSE(apic.ends_halt(true, true)) << "of the class in service";
    EXPECT_FALSE(apic.wakes(true, true)) << "the wait goes on";
    (void)apic.accept(0x61, false);
    EXPECT_FALSE(apic.ends_halt(false, true));
    EXPECT_TRUE(apic.ends_halt(true, true));
    EXPECT_TRUE(apic.events() & apic_event::page) << "the next entry has to look";
    const ApicSummary summary = apic.lend();
    EXPECT_EQ(summary.requested, 0x61);
    EXPECT_EQ(summary.in_service, 0x52);
    EXPECT_TRUE(is_set(reg::irr, 0x5f));
}

TEST_F(ApicPageTest, another_mode_takes_the_registers_back) {
    (void)apic.accept(0x41, false);
    (void)apic.lend();
    EXPECT_TRUE(apic.set_base(0xfee0'0000)); // off: as after INIT
    EXPECT_FALSE(apic.lendable());
    EXPECT_TRUE(apic.events() & apic_event::page);
    apic.keep();
    EXPECT_FALSE(apic.events() & apic_event::page);
    EXPECT_EQ(apic.pending(), 0);
    EXPECT_TRUE(apic.set_base(0xfee0'0800));
    EXPECT_FALSE(apic.lendable());
    EXPECT_TRUE(apic.set_base(x2apic_base));
    EXPECT_TRUE(apic.lendable());
    EXPECT_TRUE(apic.events() & apic_event::page);
    EXPECT_EQ(apic.lend().requested, 0);
    EXPECT_EQ(page.get(reg::svr), 0xffu);
}

TEST_F(ApicPageTest, init_forgets_what_was_on_the_page) {
    (void)apic.accept(0x41, false);
    (void)apic.accept(0x62, false);
    (void)apic.lend();
    deliver(0x62);
    apic.init();
    EXPECT_TRUE(apic.lendable());
    EXPECT_TRUE(apic.events() & apic_event::page);
    const ApicSummary summary = apic.lend();
    EXPECT_EQ(summary.requested, 0);
    EXPECT_EQ(summary.in_service, 0);
    EXPECT_FALSE(is_set(reg::irr, 0x41) || is_set(reg::isr, 0x62));
}

TEST_F(ApicPageTest, what_the_cpu_leaves_of_a_write) {
    (void)apic.accept(0x41, true);
    (void)apic.lend();
    ApicEffect left = apic.written({reg::eoi, 0x41});
    EXPECT_EQ(left.kind, Kind::eoi);
    EXPECT_EQ(left.vector, 0x41);
    EXPECT_TRUE(left.level);
    EXPECT_FALSE(apic.written({reg::eoi, 0x42}).level);
    page.set(reg::self_ipi, 0xf); // an illegal vector
    EXPECT_EQ(apic.written({reg::self_ipi, 0}).kind, Kind::none);
    write(reg::esr, 0);
    EXPECT_EQ(read(reg::esr), 1u << 5);
    page.set(reg::self_ipi, 0x55);
    left = apic.written({reg::self_ipi, 0});
    EXPECT_EQ(left.kind, Kind::ipi);
    EXPECT_EQ(left.message.vector, 0x55);
    EXPECT_EQ(apic.written({reg::svr, 0}).kind, Kind::none);
}

TEST_F(ApicPageTest, without_a_page_nothing_asks_for_one) {
    LocalApic plain{0, nullptr};
    plain.reset();
    EXPECT_TRUE(plain.set_base(x2apic_base));
    plain.init();
    EXPECT_FALSE(plain.events() & apic_event::page);
}

} // namespace
