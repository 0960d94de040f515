// SPDX-License-Identifier: GPL-2.0-only
// top_view.hpp - what `hwvctl top` shows and how keys change it; no terminal in here.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>
#include "hwvctl/summary.hpp"

namespace hwvctl {

// A VM as it was in the last interval.
struct TopVm {
    hwv_vm_entry vm{};
    Summary total, recent;
    double seconds = 0;  // the interval
    std::string trouble; // why there is no more to say of it; empty: nothing
};

enum class Style { plain, title, header, selected, help };

struct TopLine {
    std::string text;
    Style style = Style::plain;
};

enum class Key { none, up, down, left, right, enter, back };

class TopView {
  public:
    // One VM's exits from the start, without the list above it.
    void only(std::uint64_t vm) { vm_ = vm; }
    // What a key does; false: the end.
    bool press(Key key, char letter);

    // At most `height` lines of at most `width` bytes. Also notes what the cursor is on.
    std::vector<TopLine> render(std::span<const TopVm> vms, std::uint32_t tsc_khz, unsigned width,
                                unsigned height);
    double interval() const { return interval_; }
    void set_interval(double seconds) { interval_ = seconds; }
    bool paused() const { return paused_; }

  private:
    void list(std::span<const TopVm> vms, unsigned room, std::vector<TopLine> &out);
    void exits(const TopVm &vm, std::uint32_t tsc_khz, unsigned room, std::vector<TopLine> &out);
    std::vector<std::uint32_t> order(const TopVm &vm) const;
    std::string status() const; // interval, paused
    void select(std::size_t rows);

    std::uint64_t vm_ = 0; // whose exits are shown; 0: the list
    std::uint64_t under_cursor_ = 0;
    std::size_t cursor_ = 0;
    unsigned sort_ = 0; // column, 0 is the first number
    bool reversed_ = false, paused_ = false, help_ = false;
    double interval_ = 1;
};

} // namespace hwvctl
