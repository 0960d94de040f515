// SPDX-License-Identifier: GPL-2.0-only
// What hangs on the keyboard controller. Source: IBM PS/2 Hardware Interface Technical Reference,
// "Keyboards" and "Mouse".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "machine/keys.hpp"

namespace machine {

class Ps2Device {
  public:
    virtual ~Ps2Device() = default;
    // A byte from the controller.
    virtual void receive(std::uint8_t byte) noexcept = 0;
    // What the host's side holds back becomes bytes as they get room.
    virtual void fill() noexcept = 0;

    bool has_byte() const { return count_ > 0; }
    std::uint8_t take() noexcept;

  protected:
    // A device's buffer has sixteen bytes. What does not fit is lost.
    static constexpr std::size_t capacity = 16;
    void send(std::uint8_t byte) noexcept;
    std::size_t room() const { return capacity - count_; }
    void clear() { count_ = 0; }

  private:
    std::array<std::uint8_t, capacity> bytes_{};
    std::size_t first_ = 0;
    std::size_t count_ = 0;
};

class Ps2Keyboard final : public Ps2Device {
  public:
    void receive(std::uint8_t byte) noexcept override;
    void fill() noexcept override;
    // False, and nothing happens, when too much is waiting for the guest.
    bool key(Key key, bool down) noexcept;
    std::size_t strokes_free() const { return most_strokes - stroke_count_; }
    // Bit 0 scroll, 1 number, 2 capitals lock.
    std::uint8_t leds() const { return leds_; }

  private:
    struct Stroke {
        Key key;
        bool down;
    };
    static constexpr std::size_t most_strokes = 64;
    void parameter(std::uint8_t command, std::uint8_t byte) noexcept;
    void defaults() noexcept;
    void send_stroke(Stroke stroke) noexcept;
    void send_code(std::uint8_t set1, bool down) noexcept;
    void send_pause() noexcept;

    std::array<Stroke, most_strokes> strokes_{};
    std::size_t first_stroke_ = 0;
    std::size_t stroke_count_ = 0;
    std::uint8_t pending_ = 0; // a command that waits for its parameter
    std::uint8_t set_ = 2;
    std::uint8_t leds_ = 0;
    bool scanning_ = true;
};

class Ps2Mouse final : public Ps2Device {
  public:
    enum Button : std::uint8_t { left = 1, right = 2, middle = 4 };
    void receive(std::uint8_t byte) noexcept override;
    void fill() noexcept override;
    // Right, down and towards the user are positive.
    void move(int x, int y, int wheel, std::uint8_t buttons) noexcept;

  private:
    void defaults() noexcept;
    void parameter(std::uint8_t command, std::uint8_t byte) noexcept;
    void command(std::uint8_t byte) noexcept;
    void set_rate(std::uint8_t rate) noexcept;
    void send_status() noexcept;
    void send_packet() noexcept;
    bool changed() const;

    int x_ = 0, y_ = 0, wheel_ = 0; // not reported yet
    std::uint8_t buttons_ = 0;
    std::uint8_t reported_buttons_ = 0;
    std::uint8_t pending_ = 0;
    std::array<std::uint8_t, 3> rates_{}; // the last ones set, which turn the wheel on
    std::uint8_t resolution_ = 2;
    bool has_wheel_ = false;
    bool reporting_ = false;
    bool remote_ = false;
    bool wrap_ = false;
    bool double_scale_ = false;
};

} // namespace machine
