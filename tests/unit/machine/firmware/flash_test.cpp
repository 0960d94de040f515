// SPDX-License-Identifier: GPL-2.0-only
#include "machine/firmware/flash.hpp"

#include <fstream>
#include <gtest/gtest.h>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "machine/fake_slots.hpp"

namespace machine::firmware {
namespace {

class FlashTest : public testing::Test {
  protected:
    static constexpr std::uint64_t end = 0xfff00000, base = end - 0x3000;
    FlashTest() {
        char name[] = "/tmp/hwv-flash-XXXXXX";
        Fd(mkstemp(name));
        path_ = name;
        store(std::string(0x3000, 'v'));
        flash_.emplace(path_, end, slots_, bus_);
    }
    ~FlashTest() override {
        flash_.reset();
        unlink(path_.c_str());
    }
    void store(const std::string &bytes) { std::ofstream{path_, std::ios::binary} << bytes; }
    std::string file() const {
        std::stringstream text;
        text << std::ifstream{path_, std::ios::binary}.rdbuf();
        return text.str();
    }
    void put(std::uint64_t offset, unsigned value, unsigned size = 1) {
        bus_.write(base + offset, size, value);
    }
    unsigned get(std::uint64_t offset) {
        return slots_.empty() ? static_cast<unsigned>(bus_.read(base + offset, 1))
                              : slots_.get(base + offset);
    }

    std::string path_;
    FakeSlots slots_;
    MmioBus bus_;
    std::optional<Flash> flash_;
};

TEST_F(FlashTest, IsReadWithoutItself) {
    EXPECT_EQ(flash_->gpa(), base);
    EXPECT_EQ(slots_.size_at(base), 0x3000u);
    EXPECT_TRUE(slots_.last_read_only);
    EXPECT_EQ(get(0x1000), unsigned{'v'});
}

TEST_F(FlashTest, IsKnownAsAFlash) {
    put(5, 0x50);
    EXPECT_EQ(get(5), unsigned{'v'}) << "no RAM";
    put(5, 0x70);
    EXPECT_EQ(get(5), 0u) << "no ROM";
    put(5, 0xff);
    EXPECT_EQ(get(5), unsigned{'v'});
    EXPECT_FALSE(slots_.empty());
}

TEST_F(FlashTest, ProgrammingTakesOnesAway) {
    put(0x1001, 0x10);
    EXPECT_TRUE(slots_.empty());
    put(0x1001, 0x16);
    EXPECT_EQ(get(0x1001), 0x80u) << "done";
    put(0x1002, 0x40);
    put(0x1002, 0x0f);
    EXPECT_EQ(file().substr(0x1000, 3), "vvv") << "not before the end";
    put(0x1002, 0xff);
    EXPECT_EQ(get(0x1001), 'v' & 0x16u);
    EXPECT_EQ(get(0x1002), 'v' & 0x0fu);
    EXPECT_EQ(file().substr(0x1000, 4), (std::string{'v', 'v' & 0x16, 'v' & 0x0f, 'v'}));
}

TEST_F(FlashTest, ErasingBringsABlockOfOnes) {
    put(0x1234, 0x20);
    put(0x1234, 0xd0);
    EXPECT_EQ(get(0), 0x80u);
    put(0, 0xff);
    EXPECT_EQ(file(),
              std::string(0x1000, 'v') + std::string(0x1000, '\xff') + std::string(0x1000, 'v'));
    put(0x2000, 0x20);
    put(0x2000, 0xff);
    EXPECT_EQ(get(0), 0xb0u) << "not confirmed";
    put(0, 0xff);
    EXPECT_EQ(get(0x2000), unsigned{'v'});
}

TEST_F(FlashTest, WhatIsUnderWayAtTheEndIsSaved) {
    put(0, 0x10);
    put(0, 0);
    flash_.reset();
    EXPECT_EQ(file()[0], '\0');
    FakeSlots slots;
    MmioBus bus;
    flash_.emplace(path_, end, slots, bus);
    EXPECT_EQ(slots.get(base), 0u);
}

TEST_F(FlashTest, AnyWrites) {
    std::mt19937 random(7);
    for (unsigned i = 0; i < 20'000; ++i) {
        static constexpr std::array<unsigned, 6> commands{0x10, 0x20, 0x50, 0x70, 0xd0, 0xff};
        const std::uint64_t where = random() % 0x3000;
        const unsigned size = 1u << random() % 4;
        if (where + size <= 0x3000)
            put(where, random() % 2 != 0 ? commands[random() % 6] : random(), size);
        static_cast<void>(get(random() % 0x3000));
    }
    put(0, 0xff);
    put(0, 0xff);
    EXPECT_EQ(file().size(), 0x3000u);
    for (unsigned at = 0; at < 0x3000; at += 97)
        EXPECT_EQ(static_cast<unsigned char>(file()[at]), get(at));
}

TEST_F(FlashTest, RefusesWhatIsNone) {
    FakeSlots slots;
    const auto make = [&](const std::string &path) {
        MmioBus bus;
        Flash(path, end, slots, bus);
    };
    EXPECT_THROW(make("/nothing"), std::system_error);
    EXPECT_THROW(make(path_), std::system_error) << "somebody has it";
    flash_.reset();
    store("short");
    EXPECT_THROW(make(path_), std::invalid_argument);
    store(std::string(0x1000, 0));
    slots.refuse = true;
    EXPECT_THROW(make(path_), std::runtime_error);
    slots.refuse = false;
    EXPECT_NO_THROW(make(path_));
}

} // namespace
} // namespace machine::firmware
