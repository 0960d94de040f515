// SPDX-License-Identifier: GPL-2.0-only
// The paravirtual clock of a vCPU: what it claims, and when it is written anew.
#include <cstring>
#include "core/machine.hpp"
#include "hardware.hpp"

namespace {

using namespace hwv;
using namespace hwv::test;

class ClockTest : public CoreMachine {
  protected:
    static constexpr std::uint64_t base = 0x10'0000, page_bytes = 4096;

    void SetUp() override {
        CoreMachine::SetUp();
        ASSERT_TRUE(vm->memory.set_memory(
            {.slot = 0, .flags = 0, .gpa = base, .size = page_bytes, .hva = hva()}));
        vcpu->pv.system_time = base | cpu::pv_enabled;
        vcpu->put_back(request::clock);
    }

    std::uint64_t hva() const { return reinterpret_cast<std::uint64_t>(&memory); }

    // A run on a CPU, and the record after it.
    cpu::PvClock after_run_on(std::uint32_t number) {
        hwv::fake::hardware().cpu = number;
        hwv::fake::hardware().tsc += 1'000'000; // the host's clock goes on, too
        is_kicked();
        const PreemptGuard guard;
        EXPECT_EQ(vcpu->run_guest(number, &host.works), 0);
        hwv::fake::host().irqs_off = false;
        cpu::PvClock clock;
        std::memcpy(&clock, memory.bytes, sizeof clock);
        EXPECT_FALSE(clock.version & 1) << "left half written";
        return clock;
    }

    struct alignas(page_bytes) {
        std::uint8_t bytes[page_bytes];
    } memory{};
};

TEST_F(ClockTest, is_one_for_all_vcpus_where_the_tsc_is) {
    const cpu::PvClock first = after_run_on(0);
    EXPECT_EQ(first.flags & cpu::pv_clock_stable, cpu::pv_clock_stable);
    const cpu::PvClock moved = after_run_on(1);
    EXPECT_EQ(moved.version, first.version) << "written without need";
    vcpu->put_back(request::clock);
    const cpu::PvClock again = after_run_on(2);
    EXPECT_EQ(again.tsc_timestamp, first.tsc_timestamp);
    EXPECT_EQ(again.system_time, first.system_time);
}

TEST_F(ClockTest, counts_a_scaled_tsc_as_the_guest_does) {
    vcpu->msrs.set_tsc_ratio(2 * cpu::tsc_as_host);
    const cpu::PvClock clock = after_run_on(0);
    EXPECT_EQ(clock.tsc_timestamp, vcpu->msrs.guest_tsc(vm->moment().tsc));
    const std::uint64_t now = vcpu->guest_tsc() - vcpu->msrs.tsc_offset();
    EXPECT_EQ(now, 2 * hwv::fake::hardware().tsc);
}

TEST_F(ClockTest, is_the_cpus_own_where_the_tscs_differ) {
    host.tsc_stable = false;
    const cpu::PvClock first = after_run_on(0);
    EXPECT_EQ(first.flags & cpu::pv_clock_stable, 0);
    EXPECT_EQ(after_run_on(0).version, first.version) << "written without need";
    const cpu::PvClock moved = after_run_on(1);
    EXPECT_GT(moved.version, first.version);
    EXPECT_GT(moved.tsc_timestamp, first.tsc_timestamp);
    EXPECT_GT(moved.system_time, first.system_time);
}

TEST_F(ClockTest, a_tsc_that_ceases_to_be_stable_is_told_at_the_next_cpu) {
    EXPECT_EQ(after_run_on(0).flags & cpu::pv_clock_stable, cpu::pv_clock_stable);
    host.tsc_stable = false;
    EXPECT_EQ(after_run_on(1).flags & cpu::pv_clock_stable, 0);
}

} // namespace
