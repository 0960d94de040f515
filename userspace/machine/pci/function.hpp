// SPDX-License-Identifier: GPL-2.0-only
// One function of a PCI device: its configuration header, base address registers (BARs),
// interrupt pin and MSI-X. Devices derive from it, say in their constructor what they have, and
// answer accesses to their BARs. All of it under the machine's lock.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "machine/bus.hpp"
#include "machine/interrupts.hpp"
#include "machine/memory_slots.hpp"
#include "machine/pci/config_space.hpp"
#include "machine/pci/msix.hpp"

namespace machine::pci {

class Host;

struct Identity {
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
    std::uint32_t class_code = 0; // class, subclass, programming interface
    std::uint8_t revision = 0;
    std::uint16_t subsystem_vendor = 0;
    std::uint16_t subsystem = 0;
};

enum class BarKind : std::uint8_t { io, memory32, memory64, prefetchable32, prefetchable64 };

class Function {
  public:
    static constexpr unsigned bars = 7; // six, and the expansion ROM
    static constexpr unsigned rom_bar = 6;

    explicit Function(const Identity &identity);
    virtual ~Function() = default;
    Function(const Function &) = delete;
    Function &operator=(const Function &) = delete;

    // The guest's accesses, of 1, 2 or 4 bytes that do not leave their word.
    std::uint32_t read_config(unsigned offset, unsigned size) noexcept;
    void write_config(unsigned offset, unsigned size, std::uint32_t value) noexcept;

    ConfigSpace &config() { return config_; }

  protected:
    // Called by Host::add(), when host() is there: the place for MSI-X and whatever else needs it.
    virtual void attached() {}

    // For constructors. Sizes are powers of two: from 4 for ports, from 16 for memory. A 64-bit BAR
    // takes the next number too. Throw std::logic_error for what cannot be.
    void add_bar(unsigned bar, BarKind kind, std::uint64_t size);
    // Memory that the guest reaches without an exit, page-aligned; it outlives the function.
    void add_bar(unsigned bar, BarKind kind, std::span<std::byte> bytes);
    void add_rom(std::span<std::byte> bytes);
    void use_intx(); // has INTA
    // For attached(). The BAR is MSI-X's alone, 32-bit memory.
    void use_msix(unsigned vectors, unsigned bar);

    // A guest's access to a BAR that is no memory: any offset inside, any size up to 8.
    virtual std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) noexcept;
    virtual void write_bar(unsigned bar, std::uint64_t offset, unsigned size,
                           std::uint64_t value) noexcept;
    // The BAR can be reached from `base` on, or no longer: for doorbells.
    virtual void bar_mapped(unsigned, std::uint64_t) noexcept {}
    virtual void bar_unmapped(unsigned, std::uint64_t) noexcept {}
    // Around the guest's accesses to registers from 0x40 on.
    virtual void config_reading(unsigned, unsigned) noexcept {}
    virtual void config_written(unsigned, unsigned) noexcept {}

    // The level of INTA; with MSI-X on, or where the guest forbade it, the pin stays low.
    void set_intx(bool level) noexcept;
    Msix *msix() { return msix_.get(); }
    const Msix *msix() const { return msix_.get(); }
    bool bus_master() const;
    Host &host() { return *host_; }

  private:
    friend class Host;
    struct Bar final : Device {
        Function *owner = nullptr;
        unsigned number = 0;
        BarKind kind = BarKind::memory32;
        std::uint64_t size = 0; // 0: there is none
        std::span<std::byte> memory;
        std::optional<std::uint64_t> mapped;
        unsigned offset() const { return number == rom_bar ? reg::rom : reg::bar0 + 4 * number; }
        bool wide() const { return kind == BarKind::memory64 || kind == BarKind::prefetchable64; }
        std::uint64_t read(std::uint64_t at, unsigned bytes) noexcept override;
        void write(std::uint64_t at, unsigned bytes, std::uint64_t value) noexcept override;
    };
    Bar &new_bar(unsigned bar, BarKind kind, std::uint64_t size);
    void set_base(const Bar &bar, std::uint64_t base) noexcept;
    // Where the registers want it, if they do.
    std::optional<std::uint64_t> wanted(const Bar &bar) const noexcept;
    void unmap_stale() noexcept;
    void map_wanted() noexcept;
    bool map(Bar &bar, std::uint64_t base) noexcept;
    void unmap(Bar &bar) noexcept;
    void update_intx() noexcept;

    ConfigSpace config_;
    std::array<Bar, bars> bars_;
    Host *host_ = nullptr;
    std::optional<IrqLine> line_;
    bool intx_ = false;
    std::uint16_t commands_ = command::master | command::no_intx; // those it has
    std::unique_ptr<Msix> msix_;
    unsigned msix_bar_ = bars;
    unsigned msix_capability_ = 0;
};

} // namespace machine::pci
