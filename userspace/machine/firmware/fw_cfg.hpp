// SPDX-License-Identifier: GPL-2.0-only
// The channel by which firmware learns what machine it is in: numbered items and named files, read
// byte by byte or by DMA. Source: "QEMU Firmware Configuration (fw_cfg) Device", the interface that
// SeaBIOS and OVMF expect.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "machine/bus.hpp"
#include "machine/guest_memory.hpp"

namespace machine::firmware {

// Device offsets count from port 0x510: selector and data port, and from 4 the DMA address.
class FwCfg final : public Device {
  public:
    // Items that have a number of their own.
    enum Key : std::uint16_t {
        signature = 0x00,
        features = 0x01,
        ram_size = 0x03,
        no_graphic = 0x04,
        cpu_count = 0x05,
        boot_menu = 0x0e,
        max_cpus = 0x0f,
        file_directory = 0x19,
        first_file = 0x20,
    };

    explicit FwCfg(GuestMemory &ram);
    [[nodiscard]] bool attach(PortBus &bus);

    // Before the guest runs. Of two files with one name the later one stays.
    void set(std::uint16_t key, Bytes contents);
    void set16(std::uint16_t key, std::uint16_t value);
    // Throws std::length_error for a name of more than 55 characters, or beyond 256 files.
    void set_file(std::string_view name, Bytes contents);
    void set_file(std::string_view name, std::string_view text);
    // A little-endian number, as SeaBIOS reads its settings.
    void set_file64(std::string_view name, std::uint64_t value);

    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;

    static constexpr std::uint16_t base = 0x510;

  private:
    void make_directory();
    void select(std::uint16_t key) noexcept;
    ByteView rest() const noexcept;
    std::uint8_t next_byte() noexcept;
    void run_dma() noexcept;
    bool transfer(std::uint32_t control, std::uint32_t length, std::uint64_t gpa) noexcept;
    bool give(std::uint64_t gpa, std::uint32_t length) noexcept;

    GuestMemory &ram_;
    std::map<std::uint16_t, Bytes> items_;
    std::map<std::string, std::uint16_t, std::less<>> files_;
    const Bytes *selected_ = nullptr; // null: an item that is not there
    std::uint64_t position_ = 0;
    std::uint64_t dma_address_ = 0;
};

} // namespace machine::firmware
