// SPDX-License-Identifier: GPL-2.0-only
// terminal.hpp - a full screen that is given back as it was, however the program ends.
#pragma once
#include <span>
#include <termios.h>
#include <utility>
#include "hwvctl/top_view.hpp"

namespace hwvctl {

// Whether what is printed may have colours: stdout is a terminal that has them, and NO_COLOR is not
// set (no-color.org).
bool colours_wanted();

struct KeyPress {
    Key key = Key::none;
    char letter = 0; // where key is none; 0: nothing came
};

// Which key a sequence of bytes means, and how many of them it takes.
std::pair<KeyPress, std::size_t> decode_key(std::string_view bytes);

class Screen {
  public:
    Screen(); // throws Error where stdin or stdout is no terminal
    ~Screen();
    Screen(const Screen &) = delete;
    Screen &operator=(const Screen &) = delete;

    std::pair<unsigned, unsigned> size() const; // width, height
    void draw(std::span<const TopLine> lines);
    // Waits that long at most, less where the window's size changes.
    std::vector<KeyPress> keys(int timeout_ms);
    bool asked_to_end() const; // SIGTERM, SIGHUP, SIGINT

  private:
    termios before_{};
};

} // namespace hwvctl
