// SPDX-License-Identifier: GPL-2.0-only
// A VGA with a linear frame buffer, compatible with Bochs's and QEMU's "stdvga". Everything is
// called with the machine's lock held.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "machine/bus.hpp"
#include "machine/clock.hpp"
#include "machine/display/bochs_vbe.hpp"
#include "machine/display/host_pages.hpp"
#include "machine/display/vga_memory.hpp"
#include "machine/display/vga_registers.hpp"
#include "machine/memory_slots.hpp"

namespace machine {

// What is needed to draw the screen, at one moment.
struct Screen {
    VgaRegisters registers;
    VgaMemory memory;
    std::optional<LinearMode> linear;
    std::vector<std::byte> pixels; // of the linear mode, from its start on
};

class Vga final : public Device {
  public:
    static constexpr std::uint32_t frame_buffer_size = 16u << 20;
    static constexpr std::uint32_t register_bar_size = 0x1000;

    // `slots` may be null: then every access to video memory is an exit.
    Vga(const Clock &clock, MemorySlots *slots);
    ~Vga() override;
    [[nodiscard]] bool attach(PortBus &ports, MmioBus &mmio);
    // Offsets are port numbers and, from 0xa0000 on, guest-physical addresses.
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;

    // The registers in memory: what a PCI function has behind its BAR 2.
    std::uint64_t read_bar(std::uint64_t offset, unsigned size) noexcept;
    void write_bar(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept;
    std::span<std::byte> frame_buffer() const { return frame_buffer_.bytes(); }

    // What firmware leaves behind. The font has 256 characters of 16 bytes, or none at all.
    void start_text(std::span<const std::uint8_t> font) noexcept;
    void start_linear(unsigned width, unsigned height, unsigned bits) noexcept;
    std::optional<LinearMode> linear_mode() const;
    Screen screen();

  private:
    // What is mapped at the window: bytes gathered from planes, or a bank of the frame buffer.
    struct Mapping {
        PlainWindow window;
        std::uint32_t bank = 0;
        bool banked = false;
        bool operator==(const Mapping &) const = default;
    };
    std::uint8_t read_byte(std::uint32_t address) noexcept;
    void write_byte(std::uint32_t address, std::uint8_t value) noexcept;
    std::uint64_t read_vbe(std::uint64_t port, unsigned size) noexcept;
    void write_vbe(std::uint64_t port, std::uint16_t value) noexcept;
    void write_vbe_register(unsigned index, std::uint16_t value) noexcept;
    Mapping wanted_mapping() const;
    void update_mapping() noexcept;
    void unmap() noexcept;

    const Clock &clock_;
    MemorySlots *slots_;
    VgaRegisters registers_;
    VgaMemory memory_;
    BochsVbe vbe_;
    std::uint16_t vbe_index_ = 0;
    HostPages frame_buffer_;
    HostPages window_;
    Mapping wanted_;
    bool mapped_ = false;
};

} // namespace machine
