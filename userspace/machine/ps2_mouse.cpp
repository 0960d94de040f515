// SPDX-License-Identifier: GPL-2.0-only
// A mouse of three buttons that becomes one with a wheel when asked as Microsoft's IntelliMouse is:
// by the sample rates 200, 100, 80.
#include <algorithm>
#include <cstdlib>
#include <utility>

#include "machine/ps2.hpp"

namespace machine {

namespace {

enum Command : std::uint8_t {
    scale_1 = 0xe6,
    scale_2 = 0xe7,
    set_resolution = 0xe8,
    ask_status = 0xe9,
    stream_mode = 0xea,
    read_data = 0xeb,
    leave_wrap = 0xec,
    enter_wrap = 0xee,
    remote_mode = 0xf0,
    identify = 0xf2,
    set_sample_rate = 0xf3,
    enable = 0xf4,
    disable = 0xf5,
    set_defaults = 0xf6,
    reset = 0xff,
};
enum Answer : std::uint8_t { acknowledge = 0xfa, test_passed = 0xaa, not_understood = 0xfe };
constexpr std::uint8_t plain_id = 0, wheel_id = 3;
constexpr int most_waiting = 4096, furthest = 255, most_turns = 7;
constexpr std::size_t longest_packet = 4;

} // namespace

void Ps2Mouse::move(int x, int y, int wheel, std::uint8_t buttons) noexcept {
    const auto add = [](int &sum, int value) {
        sum = std::clamp(sum + std::clamp(value, -most_waiting, most_waiting), -most_waiting,
                         most_waiting);
    };
    add(x_, x);
    add(y_, -y); // up is positive here
    add(wheel_, wheel);
    buttons_ = buttons & 7;
    fill();
}

bool Ps2Mouse::changed() const {
    return x_ != 0 || y_ != 0 || (has_wheel_ && wheel_ != 0) || buttons_ != reported_buttons_;
}

void Ps2Mouse::fill() noexcept {
    while (reporting_ && !remote_ && !wrap_ && changed() && room() >= longest_packet)
        send_packet();
}

void Ps2Mouse::send_packet() noexcept {
    const int x = std::clamp(x_, -furthest, furthest), y = std::clamp(y_, -furthest, furthest);
    const int wheel = std::clamp(wheel_, -most_turns, most_turns);
    send(static_cast<std::uint8_t>(buttons_ | 0x08 | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0)));
    send(static_cast<std::uint8_t>(x));
    send(static_cast<std::uint8_t>(y));
    x_ -= x;
    y_ -= y;
    reported_buttons_ = buttons_;
    if (!has_wheel_) return;
    send(static_cast<std::uint8_t>(wheel));
    wheel_ -= wheel;
}

void Ps2Mouse::defaults() noexcept {
    clear();
    x_ = y_ = wheel_ = 0;
    rates_ = {0, 0, 100};
    resolution_ = 2;
    reporting_ = remote_ = double_scale_ = false;
}

void Ps2Mouse::set_rate(std::uint8_t rate) noexcept {
    rates_ = {rates_[1], rates_[2], rate};
    if (rates_ == std::array<std::uint8_t, 3>{200, 100, 80}) has_wheel_ = true;
}

void Ps2Mouse::send_status() noexcept {
    const unsigned buttons =
        (buttons_ & left) << 2 | (buttons_ & middle) >> 1 | (buttons_ & right) >> 1;
    send(static_cast<std::uint8_t>(buttons | (double_scale_ ? 0x10 : 0) | (reporting_ ? 0x20 : 0) |
                                   (remote_ ? 0x40 : 0)));
    send(resolution_);
    send(rates_[2]);
}

void Ps2Mouse::receive(std::uint8_t byte) noexcept {
    const std::uint8_t waiting = std::exchange(pending_, std::uint8_t{0});
    if (wrap_ && byte != leave_wrap && byte != reset) {
        send(byte);
        return;
    }
    if (waiting != 0) {
        send(acknowledge);
        if (waiting == set_resolution)
            resolution_ = byte & 3;
        else
            set_rate(byte);
        return;
    }
    if (byte < scale_1) {
        send(not_understood);
        return;
    }
    command(byte);
}

void Ps2Mouse::command(std::uint8_t byte) noexcept {
    if (byte == set_defaults || byte == reset) defaults();
    if (byte == disable) clear();
    send(acknowledge);
    switch (byte) {
    case scale_1:
    case scale_2: double_scale_ = byte == scale_2; break;
    case set_resolution:
    case set_sample_rate: pending_ = byte; break;
    case ask_status: send_status(); break;
    case stream_mode:
    case remote_mode: remote_ = byte == remote_mode; break;
    case read_data: send_packet(); break;
    case leave_wrap:
    case enter_wrap: wrap_ = byte == enter_wrap; break;
    case identify: send(has_wheel_ ? wheel_id : plain_id); break;
    case enable:
    case disable: reporting_ = byte == enable; break;
    case reset:
        has_wheel_ = wrap_ = false;
        send(test_passed);
        send(plain_id);
        break;
    default: break;
    }
}

} // namespace machine
