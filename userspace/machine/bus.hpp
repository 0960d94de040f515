// SPDX-License-Identifier: GPL-2.0-only
// The two address spaces through which a guest reaches its devices.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace machine {

// A device as its bus sees it. `offset` counts from the offset given at claim(), `size` is 1, 2, 4
// or (MMIO only) 8. Every offset, size and value is guest-controlled: a device takes anything,
// allocates nothing and throws nothing. Bits of a read above `size` are ignored.
class Device {
  public:
    virtual ~Device() = default;
    virtual std::uint64_t read(std::uint64_t offset, unsigned size) noexcept = 0;
    virtual void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept = 0;
};

// Accesses that nobody claimed: a guest probing for hardware, or a device that is missing.
struct UnclaimedCount {
    std::uint64_t reads = 0;
    std::uint64_t writes = 0;
    std::uint64_t last_address = 0;
};

// The value of `size` bytes that nobody drives: all ones.
constexpr std::uint64_t undriven(unsigned size) {
    return size >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * size)) - 1;
}

struct PortRange {
    std::uint16_t first = 0;
    std::uint32_t count = 0;
    // The widest access that the device takes; the bus cuts wider ones in halves, as ISA does.
    unsigned width = 1;
    // The device sees only accesses that are not wider than `width`, never a part of a wider one.
    // The reset register at 0xcf9 needs that: it lies inside the 32-bit PCI address register at
    // 0xcf8.
    bool whole_only = false;
};

// 65,536 I/O ports. Not thread-safe: the machine's lock is held around every call.
class PortBus {
  public:
    PortBus();
    // False, and nothing claimed, if the range is empty, leaves the address space, has an
    // impossible width or overlaps one already there. `device` outlives the bus's use; `offset` is
    // what it sees for the first port.
    [[nodiscard]] bool claim(const PortRange &range, Device &device, std::uint64_t offset = 0);
    // Of the range claimed from `first` on; none there is no error. Like claim(), allocates
    // nothing.
    void release(std::uint16_t first) noexcept;
    std::uint32_t read(std::uint16_t port, unsigned size) noexcept;
    void write(std::uint16_t port, unsigned size, std::uint32_t value) noexcept;
    const UnclaimedCount &unclaimed() const { return unclaimed_; }

  private:
    struct Entry {
        PortRange range;
        Device *device;
        std::uint64_t offset;
    };
    struct Part {
        bool claimed;
        std::uint32_t value;
    };
    const Entry *find(std::uint32_t port) const;
    static bool takes(const Entry &entry, std::uint32_t port, unsigned size);
    Part read_part(std::uint32_t port, unsigned size, bool whole) noexcept;
    bool write_part(std::uint32_t port, unsigned size, std::uint32_t value, bool whole) noexcept;

    std::vector<Entry> entries_;      // a released one has no device and is used again
    std::vector<std::uint8_t> owner_; // per port: index into entries_ plus one, or 0
    UnclaimedCount unclaimed_;
};

// Physical addresses that are not memory. Not thread-safe: the machine's lock is held around every
// call.
class MmioBus {
  public:
    static constexpr std::size_t max_ranges = 1024;
    MmioBus() { entries_.reserve(max_ranges); }
    // False, and nothing claimed, on an empty, wrapping or overlapping range, or one too many.
    [[nodiscard]] bool claim(std::uint64_t first, std::uint64_t length, Device &device,
                             std::uint64_t offset = 0);
    // Of the range claimed from `first` on; none there is no error. Like claim(), allocates
    // nothing.
    void release(std::uint64_t first) noexcept;
    std::uint64_t read(std::uint64_t gpa, unsigned size) noexcept;
    void write(std::uint64_t gpa, unsigned size, std::uint64_t value) noexcept;
    const UnclaimedCount &unclaimed() const { return unclaimed_; }

  private:
    struct Entry {
        std::uint64_t first;
        std::uint64_t last; // inclusive, so that a range may end at the top of the address space
        Device *device;
        std::uint64_t offset;
    };
    const Entry *find(std::uint64_t gpa, unsigned size) const;

    std::vector<Entry> entries_; // sorted by first
    UnclaimedCount unclaimed_;
};

} // namespace machine
