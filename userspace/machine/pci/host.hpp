// SPDX-License-Identifier: GPL-2.0-only
// The root of PCI: bus 0, its slots, and the two ways to configuration space: by ports 0xcf8 and
// 0xcfc ("Configuration Mechanism #1") and memory-mapped (PCI Express Base Specification, "PCI
// Express Enhanced Configuration Access Mechanism").
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "machine/bus.hpp"
#include "machine/event_fds.hpp"
#include "machine/event_loop.hpp"
#include "machine/interrupts.hpp"
#include "machine/low_memory.hpp"
#include "machine/memory_slots.hpp"
#include "machine/pci/function.hpp"
#include "machine/pci/routing.hpp"
#include "machine/pci/wiring.hpp"

namespace machine::pci {

class IsaBridge;

// What functions reach, all of it longer-lived than the host.
struct Wiring {
    PortBus &ports;
    MmioBus &mmio;
    EventLoop &loop;
    MsiSink &messages;
    IrqSink &irqs;
    MemorySlots *memory; // null: BARs of memory are not decoded
    EventFds *events;    // null: the event loop does the kernel's part
    LowMemory &low_memory;
};

struct Address {
    unsigned device = 0;
    unsigned function = 0;
};

class Host {
  public:
    // `reset`: the device for port 0xcf9, inside the address register's word, and the offset it
    // goes by. `isa`: with a bridge to ISA. Throws std::logic_error where a port is taken.
    Host(const Wiring &wiring, Device &reset, std::uint64_t reset_offset, bool isa);
    ~Host();
    Host(const Host &) = delete;
    Host &operator=(const Host &) = delete;

    // Into the first free slot, or the one given. Before the machine starts, with its lock held.
    // Throws std::length_error if there is none, std::logic_error if it is taken.
    Function &add(std::unique_ptr<Function> function);
    Function &add(std::unique_ptr<Function> function, Address at);

    // What firmware does, for kernels that are started without one: gives every BAR a place, turns
    // decoding on, routes interrupts. Throws std::length_error when BARs do not fit.
    void assign_resources(std::uint64_t end_of_ram);

    // Null: nobody there. `where` is bus, device, function from bit 8 on down.
    Function *find(std::uint32_t where) const noexcept;
    const Wiring &wiring() const { return wiring_; }

    // For functions: some BAR or command register changed.
    void redecode() noexcept;
    // As the host bridge's register says: enable in bit 0, length in bits 1-2.
    void place_ecam(std::uint64_t setting) noexcept;

  private:
    // Ports 0xcf8 to 0xcff.
    struct Ports final : Device {
        explicit Ports(Host &owner) : host(owner) {}
        Host &host;
        std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
        void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;
    };
    struct Ecam final : Device {
        explicit Ecam(Host &owner) : host(owner) {}
        Host &host;
        std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
        void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;
    };
    using Slots = std::array<std::unique_ptr<Function>, devices_per_bus * functions_per_device>;
    std::uint32_t read(std::uint32_t where, unsigned offset, unsigned size) noexcept;
    void write(std::uint32_t where, unsigned offset, unsigned size, std::uint32_t value) noexcept;
    void assign(Function &function, std::array<std::uint64_t, 3> &next);

    Wiring wiring_;
    Device &reset_;
    std::uint64_t reset_offset_;
    Pirqs pirqs_;
    Ports ports_{*this};
    Ecam ecam_{*this};
    std::uint32_t address_ = 0;
    std::optional<std::uint64_t> ecam_at_;
    IsaBridge *isa_ = nullptr;
    Slots slots_;
};

} // namespace machine::pci
