// SPDX-License-Identifier: GPL-2.0-only
#include "machine/firmware/flash.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace machine::firmware {

namespace {

constexpr std::uint64_t largest = 16u << 20;

// "Command Definitions"
enum Command : std::uint8_t {
    program_byte = 0x10,
    block_erase = 0x20,
    program_byte_too = 0x40,
    clear_status = 0x50,
    read_status = 0x70,
    confirm = 0xd0,
};

[[noreturn]] void refuse(const std::string &path) {
    throw std::system_error(errno, std::generic_category(), path);
}

Fd open_alone(const std::string &path) {
    Fd file(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!file || flock(file.get(), LOCK_EX | LOCK_NB) != 0) refuse(path);
    return file;
}

std::uint64_t size_of(const Fd &file) {
    struct stat about {};
    if (fstat(file.get(), &about) != 0) refuse("flash");
    const auto size = static_cast<std::uint64_t>(about.st_size);
    if (size == 0 || size % Flash::block_bytes != 0 || size > largest)
        throw std::invalid_argument("no flash: its size is no multiple of 4 KiB up to 16 MiB");
    return size;
}

} // namespace

Flash::Flash(const std::string &path, std::uint64_t end, MemorySlots &slots, MmioBus &bus)
    : file_(open_alone(path)),
      pages_(size_of(file_)),
      gpa_(end - pages_.bytes().size()),
      slots_(slots) {
    const std::uint64_t size = pages_.bytes().size();
    if (pread(file_.get(), pages_.bytes().data(), size, 0) != static_cast<ssize_t>(size))
        refuse(path);
    if (!bus.claim(gpa_, size, *this) || !slots.map(gpa_, pages_.bytes(), true))
        throw std::runtime_error("the flash's place is taken");
}

// The buses may be gone by now.
Flash::~Flash() { save(); }

// Only while a command is under way: otherwise the guest reads the bytes themselves.
std::uint64_t Flash::read(std::uint64_t offset, unsigned size) noexcept {
    if (mode_ != Mode::array) return status_ * 0x0101'0101'0101'0101u;
    std::uint64_t value = 0;
    const auto bytes = pages_.bytes();
    if (offset < bytes.size())
        std::memcpy(&value, &bytes[offset], std::min<std::size_t>(size, bytes.size() - offset));
    return value;
}

void Flash::write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept {
    switch (mode_) {
    case Mode::program: return program(offset, size, value);
    case Mode::erase:
        if (static_cast<std::uint8_t>(value) == confirm) return erase(offset);
        status_ = ready | erase_failed | program_failed; // "Command Sequence Error"
        return enter(Mode::status);
    default: return command(static_cast<std::uint8_t>(value));
    }
}

void Flash::command(std::uint8_t value) noexcept {
    switch (value) {
    case program_byte:
    case program_byte_too: return enter(Mode::program);
    case block_erase: return enter(Mode::erase);
    case read_status: return enter(Mode::status);
    // OVMF takes for a flash what then shows no bit at all, as QEMU's does.
    case clear_status: status_ = 0; return enter(Mode::array);
    default: return enter(Mode::array);
    }
}

void Flash::enter(Mode mode) noexcept {
    const bool was = mode_ == Mode::array;
    const bool is = mode == Mode::array;
    mode_ = mode;
    if (was && !is) slots_.unmap(gpa_);
    if (is) save();
    // Where the mapping does not come back, reads leave the guest and are answered here.
    if (!was && is) static_cast<void>(slots_.map(gpa_, pages_.bytes(), true));
}

// "Programming changes ones to zeroes"; only an erasure brings ones.
void Flash::program(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept {
    const auto bytes = pages_.bytes();
    for (unsigned i = 0; i < size && offset + i < bytes.size(); ++i, value >>= 8)
        bytes[offset + i] &= static_cast<std::byte>(value);
    changed(offset, offset + size);
    status_ = ready;
    enter(Mode::status);
}

void Flash::erase(std::uint64_t offset) noexcept {
    const std::uint64_t first = offset / block_bytes * block_bytes;
    const auto bytes = pages_.bytes();
    if (first < bytes.size()) std::ranges::fill(bytes.subspan(first, block_bytes), std::byte{0xff});
    changed(first, first + block_bytes);
    status_ = ready;
    enter(Mode::status);
}

void Flash::changed(std::uint64_t first, std::uint64_t end) noexcept {
    dirty_first_ = std::min(dirty_first_, first);
    dirty_end_ = std::max(dirty_end_, std::min<std::uint64_t>(end, pages_.bytes().size()));
}

// At the end of each sequence of commands: a launcher that is killed loses the one under way.
void Flash::save() noexcept {
    if (dirty_first_ >= dirty_end_) return;
    const auto bytes = pages_.bytes().subspan(dirty_first_, dirty_end_ - dirty_first_);
    if (pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(dirty_first_)) !=
        static_cast<ssize_t>(bytes.size()))
        std::perror("hwvctl: the firmware's variables are not saved");
    dirty_first_ = ~std::uint64_t{0};
    dirty_end_ = 0;
}

} // namespace machine::firmware
