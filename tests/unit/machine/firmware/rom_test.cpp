// SPDX-License-Identifier: GPL-2.0-only
#include "machine/firmware/rom.hpp"

#include <gtest/gtest.h>
#include <stdexcept>
#include <vector>

#include "machine/fake_slots.hpp"

namespace machine::firmware {
namespace {

Bytes image(std::size_t size) {
    Bytes bytes(size);
    for (std::size_t index = 0; index < size; ++index)
        bytes[index] = static_cast<std::byte>(index >> 12);
    return bytes;
}

TEST(Rom, EndsAtFourGibAndIsReadOnly) {
    FakeSlots slots;
    const Rom rom(image(0x40000), slots);
    EXPECT_EQ(rom.gpa(), 0xfffc0000u);
    EXPECT_EQ(slots.size_at(0xfffc0000), 0x40000u);
    EXPECT_TRUE(slots.last_read_only);
    EXPECT_EQ(slots.get(0xfffc0fff), 0u);
    EXPECT_EQ(slots.get(0xfffffff0), 0x3fu);
}

TEST(Rom, ItsEndIsShadowedBelowOneMib) {
    FakeSlots slots, others;
    std::vector<std::byte> ram(2u << 20);
    GuestMemory memory{{{0, ram}}};
    Rom(image(0x40000), slots).shadow(memory);
    EXPECT_EQ(memory.get<std::uint8_t>(0xdffff), 0u);
    EXPECT_EQ(memory.get<std::uint8_t>(0xe0000), 0x20u);
    EXPECT_EQ(memory.get<std::uint8_t>(0xfffff), 0x3fu);
    EXPECT_EQ(memory.get<std::uint8_t>(0x100000), 0u);
    memory.zero(0, ram.size());
    Rom(image(0x10000), others).shadow(memory);
    EXPECT_EQ(memory.get<std::uint8_t>(0xeffff), 0u);
    EXPECT_EQ(memory.get<std::uint8_t>(0xf1000), 1u);
}

TEST(Rom, RefusesWhatIsNone) {
    FakeSlots slots;
    EXPECT_THROW(Rom({}, slots), std::invalid_argument);
    EXPECT_THROW(Rom(image(0x1001), slots), std::invalid_argument);
    EXPECT_THROW(Rom(image((16u << 20) + 0x1000), slots), std::invalid_argument);
    slots.refuse = true;
    EXPECT_THROW(Rom(image(0x1000), slots), std::runtime_error);
}

} // namespace
} // namespace machine::firmware
