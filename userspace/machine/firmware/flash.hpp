// SPDX-License-Identifier: GPL-2.0-only
// A flash memory that firmware keeps its variables in, with its bytes in a file of the host's.
// Source: Intel StrataFlash data sheets, "Command Definitions", of which it has what firmware uses:
// reading, status, programming a byte, erasing a block of 4 KiB. Read, it costs no exit.
#pragma once

#include <string>

#include "machine/bus.hpp"
#include "machine/display/host_pages.hpp"
#include "machine/event_loop.hpp"
#include "machine/memory_slots.hpp"

namespace machine::firmware {

class Flash final : public Device {
  public:
    static constexpr std::uint64_t block_bytes = 0x1000;

    // All of the file, which is nobody else's meanwhile, so that it ends where `end` is. `slots`
    // and `bus` are used until the guest has ended. Throws std::system_error, std::invalid_argument
    // if its size is not one of blocks up to 16 MiB, std::runtime_error if the place is taken.
    Flash(const std::string &path, std::uint64_t end, MemorySlots &slots, MmioBus &bus);
    ~Flash() override;
    Flash(const Flash &) = delete;
    Flash &operator=(const Flash &) = delete;
    std::uint64_t gpa() const { return gpa_; }

    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;

  private:
    enum class Mode : std::uint8_t { array, status, program, erase };
    void command(std::uint8_t value) noexcept;
    void enter(Mode mode) noexcept;
    void program(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept;
    void erase(std::uint64_t offset) noexcept;
    void changed(std::uint64_t first, std::uint64_t end) noexcept;
    void save() noexcept;

    Fd file_;
    HostPages pages_;
    std::uint64_t gpa_;
    MemorySlots &slots_;
    Mode mode_ = Mode::array;
    std::uint8_t status_ = ready;
    // What the file does not have yet.
    std::uint64_t dirty_first_ = ~std::uint64_t{0}, dirty_end_ = 0;

    static constexpr std::uint8_t ready = 0x80, erase_failed = 0x20, program_failed = 0x10;
};

} // namespace machine::firmware
