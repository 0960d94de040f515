// SPDX-License-Identifier: GPL-2.0-only
#include "machine/terminal.hpp"

#include <atomic>
#include <cstdlib>
#include <termios.h>
#include <unistd.h>
#include <utility>

namespace machine {

namespace {

// One process has one terminal. Plain data, because a signal handler reads it.
termios saved_settings;
std::atomic<int> raw_fd{-1};

} // namespace

EscapeFilter::EscapeFilter(Actions actions) : actions_(std::move(actions)) {}

std::size_t EscapeFilter::filter(std::span<std::uint8_t> bytes) {
    std::size_t kept = 0;
    for (const std::uint8_t byte : bytes) {
        if (!escaped_) {
            escaped_ = byte == escape;
            if (!escaped_) bytes[kept++] = byte;
            continue;
        }
        escaped_ = false;
        if (byte == escape)
            bytes[kept++] = byte;
        else if (byte == 'x' && actions_.quit)
            actions_.quit();
        else if (byte == 'h' && actions_.help)
            actions_.help();
    }
    return kept;
}

RawTerminal::RawTerminal(int fd) {
    if (isatty(fd) == 0 || tcgetpgrp(fd) != getpgrp() || raw_fd.load() >= 0 ||
        tcgetattr(fd, &saved_settings) != 0)
        return;
    termios raw = saved_settings;
    raw.c_iflag &=
        ~static_cast<tcflag_t>(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    raw.c_cflag &= ~static_cast<tcflag_t>(CSIZE | PARENB);
    raw.c_cflag |= CS8;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    // Output processing stays on: it harms no guest, and the launcher's own lines need it.
    if (tcsetattr(fd, TCSANOW, &raw) != 0) return;
    active_ = true;
    raw_fd.store(fd);
    static const int registered = std::atexit(restore);
    static_cast<void>(registered);
}

RawTerminal::~RawTerminal() {
    if (active_) restore();
}

void RawTerminal::restore() noexcept {
    const int fd = raw_fd.exchange(-1);
    if (fd >= 0) tcsetattr(fd, TCSANOW, &saved_settings);
}

} // namespace machine
