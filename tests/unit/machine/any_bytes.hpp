// SPDX-License-Identifier: GPL-2.0-only
// A whole machine driven by a string of bytes, each of which is some guest's or host's doing. For
// the random test here and for the fuzzer in tests/fuzz/.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fake_slots.hpp"
#include "fakes.hpp"
#include "machine/display/picture.hpp"
#include "machine/hpet.hpp"
#include "machine/machine.hpp"

namespace machine {

class AnyBytes {
  public:
    explicit AnyBytes(bool legacy) {
        MachineConfig config;
        config.legacy = legacy;
        config.keyboard = true;
        config.vga = true;
        config.hpet = legacy;
        config.a20_gate = true;
        config.ram = ram_;
        config.clock = &clock_;
        config.memory_below_4g = 1u << 30;
        config.debug_output = [this](std::span<const std::uint8_t> text) { debug_ += text.size(); };
        for (std::size_t port = 0; port < backends_.size(); ++port)
            config.serial[port] = [this, port](SerialHost) {
                auto backend = std::make_unique<BufferBackend>(4096);
                backends_[port] = backend.get();
                return backend;
            };
        clock_.set_wall(1'700'000'000'000'000'000);
        pc_ = std::make_unique<Machine>(
            std::move(config), MachineSinks{.messages = messages_,
                                            .eoi = eois_,
                                            .intr = intr_,
                                            .power = [this](PowerEvent) { ++power_events_; },
                                            .ram = &ram_slots_});
    }

    void run(std::span<const std::uint8_t> bytes) {
        bytes_ = bytes;
        while (!bytes_.empty())
            step();
        messages_.sent.clear();
    }
    const Machine &machine() const { return *pc_; }
    std::uint64_t power_events() const { return power_events_; }

  private:
    std::uint64_t take(unsigned count) {
        std::uint64_t value = 0;
        for (; count > 0 && !bytes_.empty(); --count, bytes_ = bytes_.subspan(1))
            value = value << 8 | bytes_[0];
        return value;
    }
    // Mostly ports where something is.
    std::uint16_t port() {
        static constexpr std::array<std::uint16_t, 16> bases{
            0x20, 0x40, 0x60, 0x70, 0xa0, 0xf4, 0x3f8, 0x2f8, 0x4d0, 0x600, 0x610, 0xcf8,
            // the VGA: most of it lies behind an index
            0x1c8, 0x3b0, 0x3c0, 0x3d0};
        const auto choice = static_cast<std::uint8_t>(take(1));
        if (choice >= 250) return static_cast<std::uint16_t>(take(2));
        return static_cast<std::uint16_t>(bases[choice % bases.size()] + choice / 16);
    }
    void access_port(unsigned size, bool write) {
        std::array<std::uint8_t, 64> data{};
        const std::uint16_t where = port();
        const auto count = static_cast<std::uint32_t>(size == 1 && write ? take(1) % 16 : 1);
        for (std::size_t index = 0; write && index < size * count; ++index)
            data[index] = static_cast<std::uint8_t>(take(1));
        pc_->handle_port(where, size, write, data.data(), count);
    }
    void access_mmio(unsigned size, bool write) {
        const std::uint64_t where = take(1);
        std::uint64_t data = write ? take(size) : 0;
        // Register numbers matter most: index, then window.
        std::uint64_t gpa =
            where < 128 ? (where & 1 ? 0xfec00010 : 0xfec00000) : 0xfec00000 + take(2) % 0x1100;
        if (where >= 176) gpa = Hpet::base + take(1) % 0x60 * 4;
        if (where >= 192) gpa = VgaMemory::window_first + take(3) % VgaMemory::window_size;
        pc_->handle_mmio(gpa, size, write, &data);
    }
    void host(std::uint8_t what) {
        switch (what % 8) {
        case 0: clock_.advance(take(1) * take(1) * take(1)); break;
        case 1: clock_.advance(take(4)); break;
        case 2: pc_->press_power_button(); break;
        case 3: pc_->eoi(static_cast<std::uint8_t>(take(1))); break;
        case 4: pc_->irq_line(static_cast<unsigned>(take(1)) % 26).set(true); break;
        case 5: user(); break;
        default: backends_[take(1) % 4]->type(std::string(take(1), 'i')); break;
        }
        pc_->run_due_timers();
    }
    // At the keyboard, the mouse and the screen.
    void user() {
        const auto what = static_cast<std::uint8_t>(take(1));
        const std::lock_guard guard(pc_->lock());
        if (what >= 250) {
            const Screen screen = pc_->vga()->screen();
            shown_ += render(screen).pixels.size();
            if (const auto text = read_text(screen)) shown_ += utf8(*text).size();
        }
        if (pc_->input() == nullptr) return;
        pc_->input()->key(static_cast<Key>(take(2)), (what & 1) != 0);
        pc_->input()->move_mouse(static_cast<std::int8_t>(take(1)),
                                 static_cast<std::int16_t>(take(2)), 1, what);
    }
    void step() {
        const auto what = static_cast<std::uint8_t>(take(1));
        const unsigned size = 1u << (what >> 4 & 3);
        switch (what & 7) {
        case 0:
        case 1:
        case 2: access_port(size == 8 ? 1 : size, true); break;
        case 3:
        case 4: access_port(size == 8 ? 1 : size, false); break;
        case 5: access_mmio(size, (what & 8) != 0); break;
        case 6: host(what >> 3); break;
        default:
            if (pc_->pic_pending()) pc_->acknowledge_pic();
            break;
        }
    }

    ManualClock clock_;
    RecordingMessages messages_;
    RecordingEois eois_;
    RecordingIntr intr_;
    std::array<BufferBackend *, 4> backends_{};
    std::vector<std::byte> low_ = std::vector<std::byte>(LowMemory::end);
    GuestMemory ram_{{{0, low_}}};
    FakeRam ram_slots_{LowMemory::pieces(ram_.regions())};
    std::unique_ptr<Machine> pc_;
    std::span<const std::uint8_t> bytes_;
    std::uint64_t power_events_ = 0;
    std::size_t debug_ = 0;
    std::size_t shown_ = 0;
};

} // namespace machine
