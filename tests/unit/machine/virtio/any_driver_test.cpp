// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include <random>

#include "machine/virtio/any_driver.hpp"

namespace machine::virtio {
namespace {

TEST(AnyDriver, DevicesSurviveWhateverADriverDoes) {
    const auto seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    std::mt19937 random(seed);
    std::uint64_t used = 0;
    for (unsigned round = 0; round < 40; ++round) {
        AnyDriver driver;
        std::vector<std::uint8_t> bytes(4000);
        for (auto &byte : bytes)
            byte = static_cast<std::uint8_t>(random());
        driver.run(bytes);
        used += driver.used();
    }
    EXPECT_GT(used, 0u); // some of it was understood
}

// Set up, an offer of one writable buffer to each of the first two devices, a notification.
TEST(AnyDriver, ADriverIsServed) {
    AnyDriver driver;
    driver.run(
        std::vector<std::uint8_t>{3, 4, 0, 0, 0, 0, 0, 16, 15, 2, 5, 0, 0, 6, 0xff, 0xff, 0});
    EXPECT_GT(driver.used(), 0u);
}

} // namespace
} // namespace machine::virtio
