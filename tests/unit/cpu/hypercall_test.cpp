// SPDX-License-Identifier: GPL-2.0-only
// Hypercalls as Linux's Documentation/virt/kvm/x86/hypercalls.rst describes them.
#include <gtest/gtest.h>
#include "cpu/fake_bus.hpp"
#include "cpu/fake_machine.hpp"
#include "cpu/hypercall.hpp"

namespace {

using namespace hwv::cpu;
using Ids = std::vector<unsigned>;

class HypercallTest : public testing::Test {
  protected:
    HypercallTest() {
        fake::reset();
        bus.enable_all();
    }
    std::int64_t call(std::uint64_t nr, std::uint64_t a = 0, std::uint64_t b = 0,
                      std::uint64_t c = 0, std::uint64_t d = 0) {
        std::uint64_t gprs[HWV_GPRS] = {};
        gprs[HWV_RAX] = nr;
        gprs[HWV_RBX] = a;
        gprs[HWV_RCX] = b;
        gprs[HWV_RDX] = c;
        gprs[HWV_RSI] = d;
        const auto answer = serve_hypercall(bus, {gprs, wide, cpl});
        known = answer.known;
        return static_cast<std::int64_t>(answer.value);
    }

    fake::Bus bus{40};
    bool wide = true, known = false;
    std::uint8_t cpl = 0;
};

TEST_F(HypercallTest, numbers_and_rights) {
    EXPECT_EQ(call(hypercall::vapic_poll_irq), 0);
    EXPECT_TRUE(known);
    for (std::uint64_t nr : {0ull, 2ull, 3ull, 9ull, 12ull, 13ull, 1ull << 32 | 1}) {
        EXPECT_EQ(call(nr), -1000) << nr;
        EXPECT_FALSE(known);
    }
    cpl = 3;
    EXPECT_EQ(call(hypercall::vapic_poll_irq), -1);
    EXPECT_EQ(call(77), -1);
    EXPECT_TRUE(known) << "user code's calls never reach the launcher";
}

TEST_F(HypercallTest, a_mark_is_for_everybody) {
    for (const std::uint8_t level : {0, 3}) {
        cpl = level;
        EXPECT_EQ(call(HWV_HYPERCALL_MARK, 0x746f6f62), 0);
        EXPECT_TRUE(known) << "it never reaches the launcher";
    }
}

TEST_F(HypercallTest, outside_64_bit_mode_low_halves_count) {
    wide = false;
    EXPECT_EQ(call(77), 0xffff'fc18);
    EXPECT_EQ(call(0xffff'ffff'0000'0001), 0);
}

TEST_F(HypercallTest, kick_ends_a_halt) {
    EXPECT_EQ(call(hypercall::kick_cpu, 0, 7), 0);
    EXPECT_TRUE(bus.apic(7)->wakes(false, false));
    EXPECT_TRUE(bus.apic(7)->take_unhalt());
    EXPECT_FALSE(bus.apic(7)->wakes(true, true));
    EXPECT_EQ(bus.woken, Ids{7});
    EXPECT_EQ(call(hypercall::kick_cpu, 0, 99), 0) << "nobody there";
}

TEST_F(HypercallTest, yields_to_a_vcpu) {
    EXPECT_EQ(call(hypercall::sched_yield, 39), 0);
    EXPECT_EQ(call(hypercall::kick_cpu, 0, 7), 0) << "whoever is kicked is waited for";
    EXPECT_EQ(call(hypercall::sched_yield, 40), 0) << "nobody there";
    EXPECT_EQ(call(hypercall::sched_yield, 1ull << 32), 0);
    EXPECT_EQ(bus.favoured, (Ids{39, 7}));
    cpl = 3;
    EXPECT_EQ(call(hypercall::sched_yield, 3), -1);
    EXPECT_EQ(bus.favoured.size(), 2u);
}

TEST_F(HypercallTest, ipis_by_bitmap) {
    EXPECT_EQ(call(hypercall::send_ipi, 0b1011, 1, 2, 0x4061), 3) << "there is no id 66";
    EXPECT_EQ(bus.who_has(0x61), (Ids{2, 3, 5}));
    wide = false;
    EXPECT_EQ(call(hypercall::send_ipi, 0b11, 1, 2, 0x4061), 3);
    EXPECT_EQ(bus.who_has(0x61), (Ids{2, 3, 34}));
    wide = true;
    EXPECT_EQ(call(hypercall::send_ipi, 1ull << 38, 0, 0, 0x400), 1) << "NMI";
    EXPECT_TRUE(bus.apic(38)->take_nmi());
    for (std::uint64_t icr : {0x861u, 0x4'0061u, 0xc'0061u, 0x361u})
        EXPECT_EQ(call(hypercall::send_ipi, 1, 0, 0, icr), -22) << icr;
    EXPECT_EQ(call(hypercall::send_ipi, ~0ull, ~0ull, ~0ull - 200, 0x61), 0);
}

} // namespace
