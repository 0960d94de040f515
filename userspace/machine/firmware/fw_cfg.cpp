// SPDX-License-Identifier: GPL-2.0-only
#include "machine/firmware/fw_cfg.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace machine::firmware {

namespace {

enum Offset : std::uint64_t { selector = 0, data = 1, dma_high = 4, dma_low = 8 };

// "Guest-side DMA Interface": what an access structure asks for.
enum Control : std::uint32_t {
    dma_error = 1 << 0,
    dma_read = 1 << 1,
    dma_skip = 1 << 2,
    dma_select = 1 << 3,
    dma_write = 1 << 4,
};

constexpr std::uint32_t has_files_by_port = 1 << 0, has_dma = 1 << 1;
constexpr std::uint64_t dma_signature = 0x51454d5520434647; // "QEMU CFG"
constexpr std::uint64_t access_bytes = 16;
constexpr std::size_t name_bytes = 56;
constexpr std::size_t most_files = 256;

template <typename T>
T big_endian(T value) {
    static_assert(std::endian::native == std::endian::little);
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

template <typename T>
void append(Bytes &to, T value) {
    const auto bytes = std::as_bytes(std::span{&value, 1});
    to.insert(to.end(), bytes.begin(), bytes.end());
}

Bytes bytes_of(std::string_view text) {
    const auto bytes = std::as_bytes(std::span{text});
    return {bytes.begin(), bytes.end()};
}

} // namespace

FwCfg::FwCfg(GuestMemory &ram) : ram_(ram) {
    set(signature, bytes_of("QEMU"));
    Bytes what;
    append(what, std::uint32_t{has_files_by_port | has_dma});
    set(features, std::move(what));
    make_directory();
}

bool FwCfg::attach(PortBus &bus) {
    return bus.claim({.first = base, .count = 2, .width = 2}, *this, selector) &&
           bus.claim({.first = base + dma_high, .count = 8, .width = 4}, *this, dma_high);
}

void FwCfg::set(std::uint16_t key, Bytes contents) { items_[key] = std::move(contents); }

void FwCfg::set16(std::uint16_t key, std::uint16_t value) {
    Bytes bytes;
    append(bytes, value);
    set(key, std::move(bytes));
}

void FwCfg::set_file(std::string_view name, Bytes contents) {
    if (name.size() >= name_bytes) throw std::length_error("fw_cfg: the file's name is too long");
    auto file = files_.find(name);
    if (file == files_.end()) {
        if (files_.size() >= most_files) throw std::length_error("fw_cfg: too many files");
        const auto key = static_cast<std::uint16_t>(first_file + files_.size());
        file = files_.emplace(name, key).first;
    }
    set(file->second, std::move(contents));
    make_directory();
}

void FwCfg::set_file(std::string_view name, std::string_view text) {
    set_file(name, bytes_of(text));
}

void FwCfg::set_file64(std::string_view name, std::uint64_t value) {
    Bytes bytes;
    append(bytes, value);
    set_file(name, std::move(bytes));
}

// "File Directory (Key 0x0019)": big-endian, sorted by name.
void FwCfg::make_directory() {
    Bytes directory;
    append(directory, big_endian(static_cast<std::uint32_t>(files_.size())));
    for (const auto &[name, key] : files_) {
        append(directory, big_endian(static_cast<std::uint32_t>(items_[key].size())));
        append(directory, big_endian(key));
        append(directory, std::uint16_t{0});
        std::array<char, name_bytes> text{};
        std::copy(name.begin(), name.end(), text.begin());
        append(directory, text);
    }
    set(file_directory, std::move(directory));
}

void FwCfg::select(std::uint16_t key) noexcept {
    const auto item = items_.find(key);
    selected_ = item == items_.end() ? nullptr : &item->second;
    position_ = 0;
}

ByteView FwCfg::rest() const noexcept {
    if (selected_ == nullptr || position_ >= selected_->size()) return {};
    return ByteView{*selected_}.subspan(position_);
}

// Past an item's end everything is zero.
std::uint8_t FwCfg::next_byte() noexcept {
    const ByteView left = rest();
    ++position_;
    return left.empty() ? std::uint8_t{0} : std::to_integer<std::uint8_t>(left.front());
}

std::uint64_t FwCfg::read(std::uint64_t offset, unsigned size) noexcept {
    if (offset == data && size == 1) return next_byte();
    if (offset < dma_high) return undriven(size);
    // The signature by which DMA is found; the first byte in the address space is the highest.
    std::uint64_t value = 0;
    for (unsigned index = 0; index < size; ++index)
        value |= (dma_signature >> (8 * (7 - (offset - dma_high + index) % 8)) & 0xff)
                 << (8 * index);
    return value;
}

void FwCfg::write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept {
    if (offset == selector) return select(static_cast<std::uint16_t>(value));
    if (size != 4) return;
    const std::uint64_t part = big_endian(static_cast<std::uint32_t>(value));
    if (offset == dma_high) {
        dma_address_ = part << 32;
    } else if (offset == dma_low) {
        dma_address_ |= part;
        run_dma();
        dma_address_ = 0;
    }
}

// The guest's structure: control, length, address; the answer goes into the control word.
void FwCfg::run_dma() noexcept {
    const std::uint64_t at = dma_address_;
    if (!ram_.is_ram(at, access_bytes)) return;
    const auto control = big_endian(ram_.get<std::uint32_t>(at));
    const auto length = big_endian(ram_.get<std::uint32_t>(at + 4));
    const auto gpa = big_endian(ram_.get<std::uint64_t>(at + 8));
    const bool good = transfer(control, length, gpa);
    ram_.put(at, big_endian(std::uint32_t{good ? 0u : dma_error}));
}

bool FwCfg::transfer(std::uint32_t control, std::uint32_t length, std::uint64_t gpa) noexcept {
    if ((control & dma_select) != 0) select(static_cast<std::uint16_t>(control >> 16));
    if ((control & dma_read) != 0) return give(gpa, length);
    if ((control & dma_write) != 0) return false; // nothing here is the guest's to change
    if ((control & dma_skip) != 0) position_ += length;
    return true;
}

bool FwCfg::give(std::uint64_t gpa, std::uint32_t length) noexcept {
    if (!ram_.is_ram(gpa, length)) return false;
    const ByteView from = rest().first(std::min<std::uint64_t>(rest().size(), length));
    ram_.write(gpa, from);
    ram_.zero(gpa + from.size(), length - from.size());
    position_ += length;
    return true;
}

} // namespace machine::firmware
