// SPDX-License-Identifier: GPL-2.0-only
// Decoding of ICR and MSI, and who gets what, against the Intel SDM: "Interrupt Command Register
// (ICR)", "Determining IPI Destination", "Message Address Register Format", "Message Data Register
// Format".
#include <gtest/gtest.h>
#include "cpu/fake_bus.hpp"
#include "cpu/fake_machine.hpp"
#include "cpu/ipi.hpp"

namespace {

using namespace hwv::cpu;
using Ids = std::vector<unsigned>;

constexpr std::uint8_t vector = 0x51;

class IpiTest : public testing::Test {
  protected:
    IpiTest() { fake::reset(); }
    Ids send(fake::Bus &bus, const InterruptMessage &m, unsigned source = no_source) {
        count = deliver(bus, m, source);
        return bus.who_has(vector);
    }
    static InterruptMessage fixed(std::uint32_t destination, bool logical = false) {
        return {.destination = destination, .vector = vector, .logical = logical};
    }
    unsigned count = 0;
};

TEST_F(IpiTest, msi_fields) {
    InterruptMessage m;
    ASSERT_TRUE(decode_msi(0xfee0'3000, 0x0051, m));
    EXPECT_EQ(m, (InterruptMessage{.destination = 3, .vector = 0x51}));
    ASSERT_TRUE(decode_msi(0xfee0'3004, 0xc151, m));
    EXPECT_EQ(m, (InterruptMessage{.destination = 3,
                                   .mode = DeliveryMode::lowest_priority,
                                   .vector = 0x51,
                                   .logical = true,
                                   .level = true}));
    ASSERT_TRUE(decode_msi(0xfeef'f000, 0x0051, m));
    EXPECT_EQ(m.destination, broadcast);
    ASSERT_TRUE(decode_msi(0xfee0'3000 | 0x7f << 5, 0x0451, m));
    EXPECT_EQ(m.destination, 0x7f03u) << "extended destination id";
    EXPECT_EQ(m.mode, DeliveryMode::nmi);
    ASSERT_TRUE(decode_msi(0xfeef'f020, 0x0051, m));
    EXPECT_EQ(m.destination, 0x1ffu) << "not a broadcast";
    for (std::uint32_t mode : {3u, 6u})
        EXPECT_FALSE(decode_msi(0xfee0'0000, mode << 8, m)) << mode;
    for (std::uint64_t address : {0xfed0'0000ull, 0xfef0'0000ull, 0x1'fee0'0000ull, 0ull})
        EXPECT_FALSE(decode_msi(address, 0x51, m));
}

TEST_F(IpiTest, icr_fields) {
    InterruptMessage m;
    ASSERT_TRUE(decode_icr(0x0300'0000'000c'4851, false, m));
    EXPECT_EQ(
        m, (InterruptMessage{
               .destination = 3, .shorthand = Shorthand::others, .vector = 0x51, .logical = true}));
    ASSERT_TRUE(decode_icr(0xff00'0000'0000'0051, false, m));
    EXPECT_EQ(m.destination, broadcast);
    ASSERT_TRUE(decode_icr(0x0000'00ff'0000'0051, true, m));
    EXPECT_EQ(m.destination, 0xffu) << "in x2APIC mode 0xff is an id";
    ASSERT_TRUE(decode_icr(0xffff'ffff'0000'8051, true, m));
    EXPECT_EQ(m.destination, broadcast);
    EXPECT_FALSE(m.level) << "IPIs are edges";
    ASSERT_TRUE(decode_icr(0xc500, false, m)) << "INIT assert";
    EXPECT_FALSE(decode_icr(0x8500, false, m)) << "INIT level de-assert";
    EXPECT_TRUE(decode_icr(0x0500, false, m)) << "edge";
    for (std::uint32_t mode : {3u, 7u})
        EXPECT_FALSE(decode_icr(mode << 8, false, m)) << mode;
}

TEST_F(IpiTest, physical) {
    fake::Bus bus{5};
    bus.enable_all();
    EXPECT_EQ(send(bus, fixed(3)), Ids{3});
    EXPECT_EQ(count, 1u);
    EXPECT_EQ(send(bus, fixed(5)), Ids{});
    EXPECT_EQ(count, 0u);
    EXPECT_EQ(send(bus, fixed(0xff)), Ids{});
    EXPECT_EQ(send(bus, fixed(broadcast)), (Ids{0, 1, 2, 3, 4}));
    EXPECT_EQ(count, 5u);
    bus.apics[2].reset();
    EXPECT_EQ(send(bus, fixed(2)), Ids{});
    EXPECT_EQ(send(bus, fixed(broadcast)), (Ids{0, 1, 3, 4})) << "a hole among the ids";
    EXPECT_EQ(bus.woken, (Ids{3, 0, 1, 2, 3, 4, 0, 1, 3, 4}));
}

TEST_F(IpiTest, flat_logical) {
    fake::Bus bus{8};
    bus.enable_all();
    EXPECT_EQ(send(bus, fixed(0x01, true)), Ids{}) << "LDR is 0 after reset";
    for (unsigned id = 0; id < 8; ++id)
        bus.apic(id)->write(0xd0, 1u << (24 + id));
    EXPECT_EQ(send(bus, fixed(0x25, true)), (Ids{0, 2, 5}));
    EXPECT_EQ(send(bus, fixed(0, true)), Ids{});
    EXPECT_EQ(send(bus, fixed(widen_destination(0xff), true)), (Ids{0, 1, 2, 3, 4, 5, 6, 7}));
    EXPECT_EQ(send(bus, fixed(0x100, true)), Ids{});
}

TEST_F(IpiTest, cluster_logical) {
    fake::Bus bus{8};
    bus.enable_all();
    for (unsigned id = 0; id < 8; ++id) {
        bus.apic(id)->write(0xe0, 0x0fff'ffff);
        bus.apic(id)->write(0xd0, (id / 4 << 4 | 1u << id % 4) << 24);
        EXPECT_EQ(bus.apic(id)->read(0xe0), 0x0fff'ffffu);
    }
    EXPECT_EQ(send(bus, fixed(0x0a, true)), (Ids{1, 3}));
    EXPECT_EQ(send(bus, fixed(0x1f, true)), (Ids{4, 5, 6, 7}));
    EXPECT_EQ(send(bus, fixed(0x2f, true)), Ids{});
    EXPECT_EQ(send(bus, fixed(0x10, true)), Ids{});
}

TEST_F(IpiTest, x2apic_logical) {
    fake::Bus bus{40};
    bus.enable_all();
    bus.all_x2apic();
    EXPECT_EQ(send(bus, fixed(0x0002'0081, true)), (Ids{32, 39}));
    EXPECT_EQ(send(bus, fixed(0x0001'8000, true)), Ids{31});
    EXPECT_EQ(send(bus, fixed(0x0000'8001, true)), (Ids{0, 15}));
    EXPECT_EQ(send(bus, fixed(broadcast, true)).size(), 40u);
    EXPECT_EQ(send(bus, fixed(broadcast)).size(), 40u);
}

TEST_F(IpiTest, shorthands) {
    fake::Bus bus{4};
    bus.enable_all();
    const auto with = [](Shorthand s) {
        return InterruptMessage{.destination = 3, .shorthand = s, .vector = vector};
    };
    EXPECT_EQ(send(bus, with(Shorthand::self), 1), Ids{1});
    EXPECT_EQ(send(bus, with(Shorthand::all), 1), (Ids{0, 1, 2, 3}));
    EXPECT_EQ(send(bus, with(Shorthand::others), 1), (Ids{0, 2, 3}));
}

TEST_F(IpiTest, lowest_priority_takes_turns) {
    fake::Bus bus{4};
    bus.enable_all();
    for (unsigned id = 0; id < 4; ++id)
        bus.apic(id)->write(0xd0, 1u << (24 + id));
    const InterruptMessage m{.destination = 0x0d,
                             .mode = DeliveryMode::lowest_priority,
                             .vector = vector,
                             .logical = true};
    std::vector<unsigned> got(4);
    for (unsigned i = 0; i < 30; ++i) {
        const Ids ids = send(bus, m);
        ASSERT_EQ(ids.size(), 1u);
        ++got[ids[0]];
    }
    EXPECT_EQ(got, (std::vector<unsigned>{10, 0, 10, 10}));
    bus.apic(2)->write(0xf0, 0xff);
    for (unsigned i = 0; i < 10; ++i)
        ++got[send(bus, m).at(0)];
    EXPECT_EQ(got, (std::vector<unsigned>{15, 0, 10, 15}))
        << "software-disabled APICs do not arbitrate";
    EXPECT_EQ(
        send(bus, {.destination = 2, .mode = DeliveryMode::lowest_priority, .vector = vector}),
        Ids{});
    EXPECT_EQ(count, 0u);
}

TEST_F(IpiTest, who_accepts_in_which_state) {
    // refused by: hardware-disabled all; software-disabled all but NMI, INIT, start-up
    fake::Bus bus{3};
    bus.apic(1)->write(0xf0, 0x1ff);
    ASSERT_TRUE(bus.apic(2)->set_base(LocalApic::default_page));
    const struct {
        DeliveryMode mode;
        unsigned accepted[3];
    } matrix[] = {
        {DeliveryMode::fixed, {0, 1, 0}},  {DeliveryMode::lowest_priority, {0, 1, 0}},
        {DeliveryMode::smi, {0, 0, 0}},    {DeliveryMode::nmi, {1, 1, 0}},
        {DeliveryMode::init, {1, 1, 0}},   {DeliveryMode::start_up, {1, 1, 0}},
        {DeliveryMode::extint, {1, 1, 0}},
    };
    for (const auto &row : matrix)
        for (unsigned id = 0; id < 3; ++id)
            EXPECT_EQ(deliver(bus, {.destination = id, .mode = row.mode, .vector = vector}),
                      row.accepted[id])
                << static_cast<int>(row.mode) << " to " << id;
}

TEST_F(IpiTest, coalesced_counts_but_does_not_wake) {
    fake::Bus bus{1};
    bus.enable_all();
    EXPECT_EQ(deliver(bus, fixed(0)), 1u);
    EXPECT_EQ(deliver(bus, fixed(0)), 1u);
    EXPECT_EQ(bus.woken, Ids{0});
}

} // namespace
