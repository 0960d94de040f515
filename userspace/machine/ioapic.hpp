// SPDX-License-Identifier: GPL-2.0-only
// The I/O APIC: 24 pins, each with a redirection entry that says which message it sends. Source:
// Intel 82093AA data sheet, "Register Description"; version 0x20 with its EOI register: ICH data
// sheets, "APIC Registers". Destination ids above 255: KVM documentation, "KVM-specific MSRs and
// CPUID bits", KVM_FEATURE_MSI_EXT_DEST_ID (entry bits 49-55 are destination bits 8-14).
#pragma once

#include <array>
#include <cstdint>

#include "machine/bus.hpp"
#include "machine/interrupts.hpp"

namespace machine {

class IoApic final : public Device {
  public:
    static constexpr std::uint64_t default_base = 0xfec00000;
    static constexpr std::uint64_t length = 0x1000;
    static constexpr unsigned pins = 24;

    IoApic(MsiSink &messages, EoiSink &eoi_sink) : messages_(messages), eoi_sink_(eoi_sink) {}
    [[nodiscard]] bool attach(MmioBus &bus, std::uint64_t base = default_base);
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;
    // `level` is true while the line is asserted. The entry's polarity is kept but changes nothing:
    // lines carry assertion, not voltage, and the firmware tables describe the same board to
    // everybody.
    void set_pin(unsigned pin, bool level) noexcept;
    // A processor ended the interrupt `vector` (broadcast of its local APIC).
    void eoi(std::uint8_t vector) noexcept;
    std::uint64_t entry(unsigned pin) const { return pin < pins ? entries_[pin] : 0; }
    const VectorBitmap &level_vectors() const { return level_vectors_; }

  private:
    std::uint32_t read_register(std::uint8_t index) const noexcept;
    void write_register(std::uint8_t index, std::uint32_t value) noexcept;
    void write_entry(unsigned pin, bool high, std::uint32_t value) noexcept;
    void send(unsigned pin) noexcept;
    void service_level(unsigned pin) noexcept;
    void update_level_vectors() noexcept;

    MsiSink &messages_;
    EoiSink &eoi_sink_;
    std::array<std::uint64_t, pins> entries_ = make_reset_entries();
    VectorBitmap level_vectors_{};
    std::uint32_t lines_ = 0;
    std::uint32_t id_ = 0;
    std::uint8_t select_ = 0;

    static constexpr std::array<std::uint64_t, pins> make_reset_entries() {
        std::array<std::uint64_t, pins> entries{};
        entries.fill(std::uint64_t{1} << 16); // masked
        return entries;
    }
};

} // namespace machine
