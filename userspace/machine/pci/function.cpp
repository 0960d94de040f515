// SPDX-License-Identifier: GPL-2.0-only
#include "machine/pci/function.hpp"

#include <bit>
#include <stdexcept>

#include "machine/pci/host.hpp"

namespace machine::pci {

namespace {

constexpr std::uint16_t intx_status = 1u << 3;
constexpr std::uint8_t msix_id = 0x11;
constexpr std::uint16_t msix_enable = 1u << 15, msix_mask = 1u << 14;
constexpr std::uint32_t rom_enable = 1;
constexpr std::uint64_t page = 4096;

std::uint32_t type_bits(BarKind kind) {
    switch (kind) {
    case BarKind::io: return 1;
    case BarKind::memory32: return 0;
    case BarKind::memory64: return 4;
    case BarKind::prefetchable32: return 8;
    case BarKind::prefetchable64: return 0xc;
    }
    return 0;
}

bool overlaps(unsigned offset, unsigned size, unsigned first, unsigned length) {
    return offset < first + length && first < offset + size;
}

} // namespace

Function::Function(const Identity &identity) {
    config_.set(reg::vendor, identity.vendor);
    config_.set(reg::device, identity.device);
    config_.set(reg::revision, identity.class_code << 8 | identity.revision);
    config_.set(reg::subsystem_vendor, identity.subsystem_vendor);
    config_.set(reg::subsystem, identity.subsystem);
    config_.set_writable<std::uint16_t>(reg::command, commands_);
    config_.set_writable<std::uint8_t>(reg::interrupt_line, 0xff);
}

Function::Bar &Function::new_bar(unsigned number, BarKind kind, std::uint64_t size) {
    Bar &bar = bars_.at(number);
    const bool wide = kind == BarKind::memory64 || kind == BarKind::prefetchable64;
    const std::uint64_t least = kind == BarKind::io ? 4 : 16;
    const std::uint64_t most = kind == BarKind::io ? 256 : wide ? std::uint64_t{1} << 40 : 1u << 30;
    if (bar.size != 0 || (wide && (number >= 5 || bars_[number + 1].size != 0)) ||
        !std::has_single_bit(size) || size < least || size > most)
        throw std::logic_error("impossible BAR");
    bar.owner = this;
    bar.number = number;
    bar.kind = kind;
    bar.size = size;
    const std::uint64_t mask = ~(size - 1);
    config_.set(bar.offset(), type_bits(kind));
    config_.set_writable(bar.offset(), static_cast<std::uint32_t>(mask));
    if (wide) config_.set_writable(bar.offset() + 4, static_cast<std::uint32_t>(mask >> 32));
    const auto bit = kind == BarKind::io ? command::io : command::memory;
    config_.set_writable<std::uint16_t>(reg::command, static_cast<std::uint16_t>(commands_ |= bit));
    return bar;
}

void Function::add_bar(unsigned bar, BarKind kind, std::uint64_t size) {
    if (bar == rom_bar) throw std::logic_error("impossible BAR");
    new_bar(bar, kind, size);
}

void Function::add_bar(unsigned bar, BarKind kind, std::span<std::byte> bytes) {
    if (bar == rom_bar || kind == BarKind::io || bytes.size() % page != 0)
        throw std::logic_error("impossible BAR");
    new_bar(bar, kind, bytes.size()).memory = bytes;
}

void Function::add_rom(std::span<std::byte> bytes) {
    if (bytes.size() % page != 0) throw std::logic_error("impossible BAR");
    new_bar(rom_bar, BarKind::memory32, bytes.size()).memory = bytes;
    config_.set_writable(reg::rom, static_cast<std::uint32_t>(~(bytes.size() - 1)) | rom_enable);
}

void Function::use_intx() { config_.set<std::uint8_t>(reg::interrupt_pin, 1); }

void Function::use_msix(unsigned vectors, unsigned bar) {
    if (vectors == 0 || vectors > 2048) throw std::logic_error("impossible number of vectors");
    msix_ = std::make_unique<Msix>(vectors, host_->wiring().loop, host_->wiring().messages,
                                   host_->wiring().events);
    add_bar(bar, BarKind::memory32, msix_->bar_bytes());
    msix_bar_ = bar;
    msix_capability_ = config_.add_capability(msix_id, 12);
    config_.set(msix_capability_ + 2, static_cast<std::uint16_t>(vectors - 1));
    config_.set_writable<std::uint16_t>(msix_capability_ + 2, msix_enable | msix_mask);
    config_.set(msix_capability_ + 4, bar);
    config_.set(msix_capability_ + 8, msix_->pending_offset() | bar);
}

std::uint64_t Function::read_bar(unsigned, std::uint64_t, unsigned size) noexcept {
    return undriven(size);
}

void Function::write_bar(unsigned, std::uint64_t, unsigned, std::uint64_t) noexcept {}

std::uint64_t Function::Bar::read(std::uint64_t at, unsigned bytes) noexcept {
    return owner->msix_bar_ == number ? owner->msix_->read(at, bytes)
                                      : owner->read_bar(number, at, bytes);
}

void Function::Bar::write(std::uint64_t at, unsigned bytes, std::uint64_t value) noexcept {
    owner->msix_bar_ == number ? owner->msix_->write(at, bytes, value)
                               : owner->write_bar(number, at, bytes, value);
}

std::uint32_t Function::read_config(unsigned offset, unsigned size) noexcept {
    if (offset >= reg::first_free) config_reading(offset, size);
    return config_.read(offset, size);
}

void Function::write_config(unsigned offset, unsigned size, std::uint32_t value) noexcept {
    config_.write(offset, size, value);
    if (overlaps(offset, size, reg::command, 2)) update_intx();
    if (overlaps(offset, size, reg::command, 2) || overlaps(offset, size, reg::bar0, 24) ||
        overlaps(offset, size, reg::rom, 4))
        host_->redecode();
    if (msix_ && overlaps(offset, size, msix_capability_ + 2, 2)) {
        const auto control = config_.get<std::uint16_t>(msix_capability_ + 2);
        msix_->control((control & msix_enable) != 0, (control & msix_mask) != 0);
        update_intx();
    }
    if (offset >= reg::first_free) config_written(offset, size);
}

void Function::set_base(const Bar &bar, std::uint64_t base) noexcept {
    config_.set(bar.offset(), static_cast<std::uint32_t>(base) | type_bits(bar.kind));
    if (bar.wide()) config_.set(bar.offset() + 4, static_cast<std::uint32_t>(base >> 32));
}

std::optional<std::uint64_t> Function::wanted(const Bar &bar) const noexcept {
    const auto enabled = config_.get<std::uint16_t>(reg::command);
    if (bar.size == 0 || (enabled & (bar.kind == BarKind::io ? command::io : command::memory)) == 0)
        return {};
    std::uint64_t base = config_.get<std::uint32_t>(bar.offset());
    if (bar.number == rom_bar && (base & rom_enable) == 0) return {};
    if (bar.wide()) base |= std::uint64_t{config_.get<std::uint32_t>(bar.offset() + 4)} << 32;
    base &= ~(bar.size - 1);
    // Address 0 is that of a BAR that has none yet.
    if (base == 0 || (bar.kind == BarKind::io && base > 0xffff)) return {};
    return base;
}

bool Function::map(Bar &bar, std::uint64_t base) noexcept {
    const Wiring &wiring = host_->wiring();
    if (bar.kind == BarKind::io)
        return wiring.ports.claim({.first = static_cast<std::uint16_t>(base),
                                   .count = static_cast<std::uint32_t>(bar.size),
                                   .width = 4},
                                  bar);
    if (bar.memory.empty()) return wiring.mmio.claim(base, bar.size, bar);
    return wiring.memory != nullptr && wiring.memory->map(base, bar.memory, bar.number == rom_bar);
}

void Function::unmap(Bar &bar) noexcept {
    const Wiring &wiring = host_->wiring();
    const std::uint64_t base = *bar.mapped;
    bar.mapped.reset();
    bar_unmapped(bar.number, base);
    if (bar.kind == BarKind::io)
        wiring.ports.release(static_cast<std::uint16_t>(base));
    else if (bar.memory.empty())
        wiring.mmio.release(base);
    else
        wiring.memory->unmap(base);
}

void Function::unmap_stale() noexcept {
    for (Bar &bar : bars_)
        if (bar.mapped && bar.mapped != wanted(bar)) unmap(bar);
}

void Function::map_wanted() noexcept {
    for (Bar &bar : bars_) {
        const auto base = wanted(bar);
        if (bar.mapped || !base || !map(bar, *base)) continue;
        bar.mapped = base;
        bar_mapped(bar.number, *base);
    }
}

void Function::set_intx(bool level) noexcept {
    intx_ = level;
    update_intx();
}

void Function::update_intx() noexcept {
    const auto status = config_.get<std::uint16_t>(reg::status);
    config_.set(reg::status,
                static_cast<std::uint16_t>(intx_ ? status | intx_status : status & ~intx_status));
    if (!line_) return;
    const bool allowed = (config_.get<std::uint16_t>(reg::command) & command::no_intx) == 0 &&
                         !(msix_ && msix_->enabled());
    line_->set(intx_ && allowed);
}

bool Function::bus_master() const {
    return (config_.get<std::uint16_t>(reg::command) & command::master) != 0;
}

} // namespace machine::pci
