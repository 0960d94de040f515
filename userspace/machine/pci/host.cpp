// SPDX-License-Identifier: GPL-2.0-only
#include "machine/pci/host.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "machine/bytes.hpp"
#include "machine/pci/chipset.hpp"

namespace machine::pci {

namespace {

constexpr std::uint16_t address_port = 0xcf8;
constexpr std::uint64_t reset_byte = 1, data_offset = 4;
constexpr std::uint32_t address_enable = 1u << 31;

enum Window : unsigned { io, memory, memory64 };

} // namespace

Host::Host(const Wiring &wiring, Device &reset, std::uint64_t reset_offset, bool isa)
    : wiring_(wiring), reset_(reset), reset_offset_(reset_offset), pirqs_(wiring.irqs) {
    wiring_.ports.release(address_port + reset_byte);
    if (!wiring_.ports.claim({.first = address_port, .count = 8, .width = 4}, ports_))
        throw std::logic_error("two devices claim the ports of PCI");
    add(std::make_unique<HostBridge>(), {0, 0});
    if (!isa) return;
    auto bridge = std::make_unique<IsaBridge>(pirqs_);
    isa_ = bridge.get();
    add(std::move(bridge), {31, 0});
}

Host::~Host() = default;

Function &Host::add(std::unique_ptr<Function> function) {
    for (unsigned device = 1; device < 25; ++device)
        if (!slots_[device * functions_per_device]) return add(std::move(function), {device, 0});
    throw std::length_error("no PCI slot is free");
}

Function &Host::add(std::unique_ptr<Function> function, Address at) {
    auto &slot = slots_.at(at.device * functions_per_device + at.function);
    if (slot || at.function >= functions_per_device)
        throw std::logic_error("two functions want the same PCI slot");
    slot = std::move(function);
    slot->host_ = this;
    if (const auto pin = slot->config().get<std::uint8_t>(reg::interrupt_pin); pin != 0)
        slot->line_.emplace(pirqs_, pirq_of(at.device, pin - 1u));
    slot->attached();
    // Whoever finds function 0 looks for others only if it says so.
    const auto &first = slots_[at.device * functions_per_device];
    for (unsigned other = 1; first && other < functions_per_device; ++other)
        if (slots_[at.device * functions_per_device + other])
            first->config().set<std::uint8_t>(reg::header_type, 0x80);
    return *slot;
}

Function *Host::find(std::uint32_t where) const noexcept {
    return where < slots_.size() ? slots_[where].get() : nullptr;
}

std::uint32_t Host::read(std::uint32_t where, unsigned offset, unsigned size) noexcept {
    Function *function = find(where);
    return function ? function->read_config(offset, size)
                    : static_cast<std::uint32_t>(undriven(size));
}

void Host::write(std::uint32_t where, unsigned offset, unsigned size,
                 std::uint32_t value) noexcept {
    if (Function *function = find(where)) function->write_config(offset, size, value);
}

std::uint64_t Host::Ports::read(std::uint64_t offset, unsigned size) noexcept {
    if (offset >= data_offset) {
        const std::uint32_t address = host.address_;
        if ((address & address_enable) == 0) return undriven(size);
        return host.read(address >> 8 & 0xffff,
                         (address & 0xfc) + static_cast<unsigned>(offset & 3), size);
    }
    if (offset == 0 && size == 4) return host.address_;
    if (offset == reset_byte && size == 1) return host.reset_.read(host.reset_offset_, size);
    return undriven(size);
}

void Host::Ports::write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept {
    if (offset >= data_offset) {
        const std::uint32_t address = host.address_;
        if ((address & address_enable) != 0)
            host.write(address >> 8 & 0xffff, (address & 0xfc) + static_cast<unsigned>(offset & 3),
                       size, static_cast<std::uint32_t>(value));
    } else if (offset == 0 && size == 4) {
        host.address_ = static_cast<std::uint32_t>(value) & 0x80ff'fffc;
    } else if (offset == reset_byte && size == 1) {
        host.reset_.write(host.reset_offset_, size, value);
    }
}

// Registers past the first 256 bytes do not exist: nothing here is PCI Express.
std::uint64_t Host::Ecam::read(std::uint64_t offset, unsigned size) noexcept {
    const auto where = static_cast<std::uint32_t>(offset >> 12);
    const auto at = static_cast<unsigned>(offset & 0xfff);
    if (size == 8) return undriven(size);
    return host.read(where, at, size);
}

void Host::Ecam::write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept {
    if (size != 8)
        host.write(static_cast<std::uint32_t>(offset >> 12), static_cast<unsigned>(offset & 0xfff),
                   size, static_cast<std::uint32_t>(value));
}

void Host::place_ecam(std::uint64_t setting) noexcept {
    constexpr std::uint64_t base_mask = 0x7f'f000'0000;
    const std::uint64_t length = ecam_bytes >> std::min<std::uint64_t>(setting >> 1 & 3, 2);
    if (ecam_at_) wiring_.mmio.release(*ecam_at_);
    ecam_at_.reset();
    const std::uint64_t base = setting & base_mask;
    if ((setting & 1) != 0 && wiring_.mmio.claim(base, length, ecam_)) ecam_at_ = base;
}

void Host::redecode() noexcept {
    for (const auto &function : slots_)
        if (function) function->unmap_stale();
    for (const auto &function : slots_)
        if (function) function->map_wanted();
}

void Host::assign(Function &function, std::array<std::uint64_t, 3> &next) {
    constexpr std::uint64_t last[] = {0xffff, memory_last, ~std::uint64_t{0}};
    std::vector<Function::Bar *> bars;
    for (auto &bar : function.bars_)
        if (bar.size != 0) bars.push_back(&bar);
    std::stable_sort(bars.begin(), bars.end(),
                     [](const auto *a, const auto *b) { return a->size > b->size; });
    for (auto *bar : bars) {
        // Large ones leave the gap below 4 GiB to the others.
        const Window window = bar->kind == BarKind::io                 ? io
                              : bar->wide() && bar->size >= 256u << 20 ? memory64
                                                                       : memory;
        const std::uint64_t base = align_up(next[window], bar->size);
        if (base + (bar->size - 1) > last[window]) throw std::length_error("PCI BARs do not fit");
        next[window] = base + bar->size;
        function.set_base(*bar, base);
    }
}

void Host::assign_resources(std::uint64_t end_of_ram) {
    std::array<std::uint64_t, 3> next{io_first, memory_first, memory64_first(end_of_ram)};
    for (unsigned where = 0; where < slots_.size(); ++where) {
        if (!slots_[where]) continue;
        Function &function = *slots_[where];
        assign(function, next);
        ConfigSpace &config = function.config();
        const auto pin = config.get<std::uint8_t>(reg::interrupt_pin);
        if (pin != 0)
            config.set(reg::interrupt_line, static_cast<std::uint8_t>(isa_irq_of(
                                                pirq_of(where / functions_per_device, pin - 1u))));
        function.write_config(reg::command, 2, command::io | command::memory);
    }
    find(0)->write_config(HostBridge::pciexbar, 4, static_cast<std::uint32_t>(ecam_base) | 1);
    if (isa_ != nullptr) isa_->set_default_routes();
}

} // namespace machine::pci
