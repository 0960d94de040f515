// SPDX-License-Identifier: GPL-2.0-only
// The launcher's own terminal, given to the guest, and the key that gets it back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace machine {

// Finds Ctrl-A commands in what is typed. x quits, h asks for help, Ctrl-A sends one Ctrl-A.
class EscapeFilter {
  public:
    struct Actions {
        std::function<void()> quit;
        std::function<void()> help;
    };
    explicit EscapeFilter(Actions actions);
    // Removes commands from `bytes`, carries them out, and returns how many bytes are left.
    std::size_t filter(std::span<std::uint8_t> bytes);

    static constexpr std::uint8_t escape = 0x01;

  private:
    Actions actions_;
    bool escaped_ = false;
};

// Puts the terminal on `fd` into raw mode while it lives; does nothing if there is none, or if it
// belongs to another process group (which would stop us).
class RawTerminal {
  public:
    explicit RawTerminal(int fd);
    ~RawTerminal();
    RawTerminal(const RawTerminal &) = delete;
    RawTerminal &operator=(const RawTerminal &) = delete;
    bool active() const { return active_; }
    // Puts things right from a signal handler or atexit; harmless if nothing is raw.
    static void restore() noexcept;

  private:
    bool active_ = false;
};

} // namespace machine
