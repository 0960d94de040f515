// SPDX-License-Identifier: GPL-2.0-only
#include "machine/bus.hpp"

#include <algorithm>

namespace machine {

namespace {

constexpr std::uint32_t port_count = 65536;
constexpr std::size_t max_port_ranges = 255; // an owner is one byte, 0 is nobody

constexpr bool is_port_width(unsigned width) { return width == 1 || width == 2 || width == 4; }

} // namespace

PortBus::PortBus() : owner_(port_count, 0) { entries_.reserve(max_port_ranges); }

bool PortBus::claim(const PortRange &range, Device &device, std::uint64_t offset) {
    const std::uint32_t end = range.first + range.count;
    if (range.count == 0 || range.count > port_count || end > port_count ||
        !is_port_width(range.width))
        return false;
    const auto first = owner_.begin() + range.first;
    const auto last = owner_.begin() + end;
    if (std::any_of(first, last, [](std::uint8_t owner) { return owner != 0; })) return false;
    auto place = std::find_if(entries_.begin(), entries_.end(),
                              [](const Entry &entry) { return entry.device == nullptr; });
    if (place == entries_.end()) {
        if (entries_.size() == max_port_ranges) return false;
        place = entries_.emplace(place);
    }
    *place = {range, &device, offset};
    std::fill(first, last, static_cast<std::uint8_t>(place - entries_.begin() + 1));
    return true;
}

void PortBus::release(std::uint16_t first) noexcept {
    if (owner_[first] == 0) return;
    Entry &entry = entries_[owner_[first] - 1u];
    if (entry.range.first != first) return;
    std::fill_n(owner_.begin() + first, entry.range.count, std::uint8_t{0});
    entry.device = nullptr;
}

const PortBus::Entry *PortBus::find(std::uint32_t port) const {
    // An access that starts at 0xffff and is wider than a byte leaves the address space; nobody
    // answers.
    const std::uint8_t owner = port < port_count ? owner_[port] : 0;
    return owner == 0 ? nullptr : &entries_[owner - 1u];
}

bool PortBus::takes(const Entry &entry, std::uint32_t port, unsigned size) {
    return size <= entry.range.width && port + size <= entry.range.first + entry.range.count;
}

PortBus::Part PortBus::read_part(std::uint32_t port, unsigned size, bool whole) noexcept {
    const Entry *entry = find(port);
    if (entry != nullptr && takes(*entry, port, size) && (whole || !entry->range.whole_only)) {
        const auto value = entry->device->read(port - entry->range.first + entry->offset, size);
        return {true, static_cast<std::uint32_t>(value & undriven(size))};
    }
    if (size == 1) return {false, 0xff};
    const unsigned half = size / 2;
    const Part low = read_part(port, half, false);
    const Part high = read_part(port + half, half, false);
    return {low.claimed && high.claimed, low.value | high.value << (8 * half)};
}

bool PortBus::write_part(std::uint32_t port, unsigned size, std::uint32_t value,
                         bool whole) noexcept {
    const Entry *entry = find(port);
    if (entry != nullptr && takes(*entry, port, size) && (whole || !entry->range.whole_only)) {
        entry->device->write(port - entry->range.first + entry->offset, size,
                             value & undriven(size));
        return true;
    }
    if (size == 1) return false;
    const unsigned half = size / 2;
    const bool low = write_part(port, half, value, false);
    const bool high = write_part(port + half, half, value >> (8 * half), false);
    return low && high;
}

std::uint32_t PortBus::read(std::uint16_t port, unsigned size) noexcept {
    const Part part = is_port_width(size) ? read_part(port, size, true) : Part{false, 0xffffffff};
    if (!part.claimed) {
        ++unclaimed_.reads;
        unclaimed_.last_address = port;
    }
    return part.value;
}

void PortBus::write(std::uint16_t port, unsigned size, std::uint32_t value) noexcept {
    if (is_port_width(size) && write_part(port, size, value, true)) return;
    ++unclaimed_.writes;
    unclaimed_.last_address = port;
}

bool MmioBus::claim(std::uint64_t first, std::uint64_t length, Device &device,
                    std::uint64_t offset) {
    const std::uint64_t last = first + (length - 1);
    if (length == 0 || last < first || entries_.size() == max_ranges) return false;
    const auto next = std::lower_bound(
        entries_.begin(), entries_.end(), first,
        [](const Entry &entry, std::uint64_t address) { return entry.last < address; });
    if (next != entries_.end() && next->first <= last) return false;
    entries_.insert(next, {first, last, &device, offset});
    return true;
}

void MmioBus::release(std::uint64_t first) noexcept {
    const auto entry =
        std::find_if(entries_.begin(), entries_.end(),
                     [first](const Entry &candidate) { return candidate.first == first; });
    if (entry != entries_.end()) entries_.erase(entry);
}

const MmioBus::Entry *MmioBus::find(std::uint64_t gpa, unsigned size) const {
    if (size != 1 && size != 2 && size != 4 && size != 8) return nullptr;
    const auto entry = std::lower_bound(
        entries_.begin(), entries_.end(), gpa,
        [](const Entry &candidate, std::uint64_t address) { return candidate.last < address; });
    if (entry == entries_.end() || entry->first > gpa || entry->last - gpa < size - 1)
        return nullptr;
    return &*entry;
}

std::uint64_t MmioBus::read(std::uint64_t gpa, unsigned size) noexcept {
    if (const Entry *entry = find(gpa, size))
        return entry->device->read(gpa - entry->first + entry->offset, size) & undriven(size);
    ++unclaimed_.reads;
    unclaimed_.last_address = gpa;
    return undriven(size);
}

void MmioBus::write(std::uint64_t gpa, unsigned size, std::uint64_t value) noexcept {
    if (const Entry *entry = find(gpa, size)) {
        entry->device->write(gpa - entry->first + entry->offset, size, value & undriven(size));
        return;
    }
    ++unclaimed_.writes;
    unclaimed_.last_address = gpa;
}

} // namespace machine
