// SPDX-License-Identifier: GPL-2.0-only
#include <utility>

#include "machine/ps2.hpp"
#include "machine/scan_codes.hpp"

namespace machine {

namespace {

enum Command : std::uint8_t {
    set_leds = 0xed,
    echo = 0xee,
    scan_code_set = 0xf0,
    identify = 0xf2,
    typematic = 0xf3,
    enable = 0xf4,
    disable = 0xf5,
    set_defaults = 0xf6,
    make_break_all = 0xfa,
    resend = 0xfe,
    reset = 0xff,
};
enum Answer : std::uint8_t { acknowledge = 0xfa, test_passed = 0xaa, not_understood = 0xfe };
constexpr std::uint8_t extended_prefix = 0xe0, pause_prefix = 0xe1, break_prefix = 0xf0;
constexpr std::size_t longest_stroke = 8; // Pause, in set 2

} // namespace

std::uint8_t Ps2Device::take() noexcept {
    const std::uint8_t byte = bytes_[first_];
    first_ = (first_ + 1) % capacity;
    --count_;
    return byte;
}

void Ps2Device::send(std::uint8_t byte) noexcept {
    if (count_ == capacity) return;
    bytes_[(first_ + count_) % capacity] = byte;
    ++count_;
}

bool Ps2Keyboard::key(Key key, bool down) noexcept {
    if (stroke_count_ == most_strokes) return false;
    strokes_[(first_stroke_ + stroke_count_) % most_strokes] = {key, down};
    ++stroke_count_;
    fill();
    return true;
}

void Ps2Keyboard::fill() noexcept {
    while (scanning_ && stroke_count_ > 0 && room() >= longest_stroke) {
        const Stroke stroke = strokes_[first_stroke_];
        first_stroke_ = (first_stroke_ + 1) % most_strokes;
        --stroke_count_;
        send_stroke(stroke);
    }
}

void Ps2Keyboard::send_stroke(Stroke stroke) noexcept {
    if (stroke.key == pause_key) {
        if (stroke.down) send_pause();
        return;
    }
    if ((stroke.key & extended_key) != 0) send(extended_prefix);
    send_code(static_cast<std::uint8_t>(stroke.key & 0x7f), stroke.down);
}

void Ps2Keyboard::send_code(std::uint8_t set1, bool down) noexcept {
    if (set_ == 1) {
        send(static_cast<std::uint8_t>(set1 | (down ? 0 : 0x80)));
        return;
    }
    if (!down) send(break_prefix);
    send(to_set2(set1));
}

// Pause sends its release at once: Ctrl and NumLock, with a prefix of their own.
void Ps2Keyboard::send_pause() noexcept {
    for (const bool down : {true, false}) {
        send(pause_prefix);
        send_code(0x1d, down);
        send_code(0x45, down);
    }
}

void Ps2Keyboard::defaults() noexcept {
    clear();
    first_stroke_ = stroke_count_ = 0;
    set_ = 2;
}

void Ps2Keyboard::parameter(std::uint8_t command, std::uint8_t byte) noexcept {
    if (command == scan_code_set && byte > 2) { // set 3 is for terminals
        send(not_understood);
        return;
    }
    send(acknowledge);
    if (command == set_leds) leds_ = byte & 7;
    if (command != scan_code_set) return;
    if (byte == 0)
        send(set_);
    else
        set_ = byte;
}

void Ps2Keyboard::receive(std::uint8_t byte) noexcept {
    const std::uint8_t command = std::exchange(pending_, std::uint8_t{0});
    if (command != 0 && byte < set_leds) {
        parameter(command, byte);
        return;
    }
    switch (byte) {
    case echo: send(echo); break;
    case identify:
        send(acknowledge);
        send(0xab);
        send(0x83);
        break;
    case set_leds:
    case scan_code_set:
    case typematic:
        pending_ = byte;
        send(acknowledge);
        break;
    case enable:
    case disable:
        clear();
        scanning_ = byte == enable;
        send(acknowledge);
        break;
    case set_defaults:
    case reset:
        defaults();
        scanning_ = true;
        send(acknowledge);
        if (byte == reset) {
            leds_ = 0;
            send(test_passed);
        }
        break;
    default: send(byte >= set_leds ? acknowledge : not_understood); break;
    }
}

} // namespace machine
