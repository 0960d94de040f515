// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include <random>

#include "machine/storage/any_firmware.hpp"

namespace machine::storage {
namespace {

TEST(AnyFirmware, SurvivesRandomBytes) {
    const auto seed = std::random_device{}();
    RecordProperty("seed", std::to_string(seed));
    std::mt19937 random{seed};
    std::uint64_t transferred = 0;
    for (unsigned round = 0; round < 200; ++round) {
        std::vector<std::uint8_t> bytes(2000);
        for (auto &byte : bytes)
            byte = static_cast<std::uint8_t>(random());
        AnyFirmware devices;
        ASSERT_TRUE(devices.attached());
        devices.run(bytes);
        transferred += devices.transferred();
    }
    EXPECT_GT(transferred, 0u) << "nothing ever answered";
}

} // namespace
} // namespace machine::storage
