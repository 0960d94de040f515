// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/top_view.hpp"

#include <cstring>
#include <gtest/gtest.h>
#include "hwvctl/terminal.hpp"

namespace hwvctl {
namespace {

TopVm vm(std::uint64_t id, const char *name, std::uint64_t cpuids, std::uint64_t outs) {
    TopVm out;
    out.vm.id = id;
    std::strcpy(out.vm.name, name);
    out.seconds = 2;
    for (Summary *s : {&out.total, &out.recent}) {
        s->exit[HWV_EXIT_CPUID].count = cpuids;
        s->exit[HWV_EXIT_IO].count = outs;
        s->exit[HWV_EXIT_IO].cycles = 1000 * outs;
        s->exit[HWV_EXIT_IO].histogram[9] = outs;
        s->keys[{HWV_EXIT_IO, 0x3f8}] = outs;
        s->cycles = 100;
        s->segment[HWV_TIME_GUEST].cycles = 100;
    }
    return out;
}

class Top : public testing::Test {
  protected:
    std::vector<std::string> lines(unsigned width = 80, unsigned height = 24) {
        std::vector<std::string> out;
        selected.clear();
        for (const TopLine &line : view.render(vms, 1000, width, height)) {
            out.push_back(line.text);
            if (line.style == Style::selected) selected = line.text;
        }
        return out;
    }
    bool shows(const std::string &text) {
        for (const std::string &line : lines())
            if (line.find(text) != std::string::npos) return true;
        return false;
    }
    std::vector<TopVm> vms{vm(1, "small", 10, 2), vm(2, "big", 100, 40)};
    TopView view;
    std::string selected;
};

// Whoever starts a VM names it.
TEST_F(Top, ANameCommandsNoTerminal) {
    vms = {vm(1, "\033[2Jgone\007", 10, 2)};
    for (const bool inside : {false, true}) {
        if (inside) view.press(Key::enter, 0);
        EXPECT_TRUE(shows("?[2Jgone?")) << inside;
        for (const std::string &line : lines())
            EXPECT_EQ(line.find_first_of("\033\007"), std::string::npos) << line;
    }
}

TEST_F(Top, FillsTheScreenAndNoMore) {
    for (const auto &[width, height] :
         {std::pair{80u, 24u}, {40u, 10u}, {200u, 60u}, {1u, 1u}, {20u, 3u}})
        for (const bool inside : {false, true}) {
            if (inside) view.press(Key::enter, 0);
            const auto all = lines(width, height);
            EXPECT_EQ(all.size(), height);
            for (const std::string &line : all)
                EXPECT_LE(line.size(), width);
            view.press(Key::back, 0);
        }
}

TEST_F(Top, NumbersFitInEightyColumns) {
    vms[0].recent.cycles = 3;
    vms[0].recent.segment[HWV_TIME_HALTED].cycles = 1;
    EXPECT_TRUE(shows("h help"));
    for (const std::string &line : lines(1000))
        EXPECT_LE(line.size(), 80u) << line;
    view.press(Key::enter, 0);
    for (const std::string &line : lines(1000))
        EXPECT_LE(line.size(), 80u) << line;
}

TEST_F(Top, ListIsSortedByRate) {
    EXPECT_EQ(lines()[0], "hwvctl top: 2 VMs, 76 exits/s; every 1 s");
    EXPECT_NE(selected.find("big"), std::string::npos);
    view.press(Key::none, 'r');
    lines();
    EXPECT_NE(selected.find("small"), std::string::npos);
}

TEST_F(Top, EnterShowsTheSelectedVm) {
    view.press(Key::down, 0);
    lines();
    view.press(Key::enter, 0);
    EXPECT_TRUE(shows("VM 1 small"));
    EXPECT_NE(selected.find("cpuid"), std::string::npos);
    view.press(Key::none, 'j');
    lines();
    EXPECT_NE(selected.find("io "), std::string::npos);
    EXPECT_TRUE(shows("  0x3f8 COM1")) << "what the selected one is about";
    view.press(Key::back, 0);
    EXPECT_TRUE(shows("hwvctl top: 2 VMs"));
}

TEST_F(Top, SortColumnMoves) {
    view.only(2);
    EXPECT_TRUE(shows("*PER S"));
    view.press(Key::none, '>');
    view.press(Key::none, '>');
    EXPECT_TRUE(shows("*TIME%"));
    EXPECT_NE(selected.find("io "), std::string::npos) << "all of the time is its";
    for (int i = 0; i < 20; ++i)
        view.press(Key::none, '>');
    EXPECT_TRUE(shows("*TOTAL"));
    for (int i = 0; i < 20; ++i)
        view.press(Key::none, '<');
    EXPECT_TRUE(shows("*PER S"));
}

TEST_F(Top, CursorStaysInALongList) {
    for (std::uint64_t id = 3; id < 40; ++id)
        vms.push_back(vm(id, "more", 1, 0));
    for (int i = 0; i < 100; ++i) {
        view.press(Key::down, 0);
        lines();
        EXPECT_FALSE(selected.empty());
    }
    EXPECT_NE(selected.find("   39 more"), std::string::npos);
    vms.resize(1);
    lines();
    EXPECT_NE(selected.find("small"), std::string::npos) << "the others have ended";
    vms.clear();
    EXPECT_TRUE(shows("0 VMs"));
    EXPECT_TRUE(view.press(Key::enter, 0));
}

TEST_F(Top, KeysOfTheEnd) {
    EXPECT_FALSE(view.press(Key::none, 'q'));
    EXPECT_FALSE(view.press(Key::none, 3));
    view.press(Key::none, 'h');
    EXPECT_TRUE(shows("this help"));
    EXPECT_TRUE(view.press(Key::none, 'x')) << "any key closes the help";
    EXPECT_FALSE(shows("this help"));
    view.press(Key::none, 'p');
    EXPECT_TRUE(view.paused());
    EXPECT_TRUE(shows("held"));
}

TEST_F(Top, VmThatEndedIsSaid) {
    view.only(77);
    EXPECT_TRUE(shows("VM 77 has ended"));
}

TEST(DecodeKey, ArrowsAndLetters) {
    EXPECT_EQ(decode_key("\033[A").first.key, Key::up);
    EXPECT_EQ(decode_key("\033OBx").second, 3u);
    EXPECT_EQ(decode_key("\033").first.key, Key::back);
    EXPECT_EQ(decode_key("\r").first.key, Key::enter);
    EXPECT_EQ(decode_key("q").first.letter, 'q');
    EXPECT_EQ(decode_key("\033[5~").second, 4u);
    EXPECT_EQ(decode_key("").second, 0u);
}

} // namespace
} // namespace hwvctl
