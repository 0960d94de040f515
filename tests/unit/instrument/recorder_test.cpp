// SPDX-License-Identifier: GPL-2.0-only
// Records of exits: into whose rings they go.
#include "instrument/recorder.hpp"
#include <array>
#include <gtest/gtest.h>

namespace hwv::test {
namespace {

using instrument::Recorder;
using instrument::Ring;

struct OwnRing {
    explicit OwnRing(std::uint64_t age, std::uint32_t flags = 0)
        : ring{header(),
               nullptr,
               age,
               {.flags = flags, .capacity = HWV_RING_MIN, .reasons = ~0ull}} {}
    hwv_ring *header() { return reinterpret_cast<hwv_ring *>(memory.data()); }
    std::uint64_t matched() { return header()->matched; }

    alignas(64) std::array<char, HWV_RING_HEADER + HWV_RING_MIN * sizeof(hwv_record)> memory{};
    Ring ring;
};

TEST(RecorderTest, what_a_rule_wants_goes_into_its_observers_ring_alone) {
    OwnRing wants{1, HWV_RING_RULED_ONLY}, other{2, HWV_RING_RULED_ONLY}, all{3};
    Recorder recorder;
    recorder.set(0, &wants.ring);
    recorder.set(1, &other.ring);
    recorder.set(2, &all.ring);
    for (const bool ruled : {false, true}) {
        recorder.open({.reason = HWV_EXIT_CPUID});
        if (ruled) recorder.rule(0);
        recorder.close(1);
    }
    EXPECT_EQ(wants.matched(), 1u);
    EXPECT_EQ(other.matched(), 0u);
    EXPECT_EQ(all.matched(), 2u);
}

TEST(RecorderTest, who_took_the_slot_since_did_not_want_it) {
    OwnRing former{1, HWV_RING_RULED_ONLY}, later{2, HWV_RING_RULED_ONLY};
    Recorder recorder;
    recorder.set(0, &former.ring);
    recorder.open({.reason = HWV_EXIT_CPUID});
    recorder.rule(0);
    recorder.set(0, &later.ring);
    recorder.close(1);
    recorder.open({.reason = HWV_EXIT_CPUID});
    recorder.rule(0);
    recorder.close(2);
    EXPECT_EQ(former.matched(), 0u);
    EXPECT_EQ(later.matched(), 1u);
}

} // namespace
} // namespace hwv::test
