// SPDX-License-Identifier: GPL-2.0-only
// Any instruction bytes, registers, page tables and modes for the emulator: it must end, stay
// inside its memory, move a bounded number of bytes, and change nothing when it refuses.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "assist/string_io.hpp"

namespace {

constexpr std::size_t ram_bytes = 0x10000;

void require(bool condition) {
    if (!condition) std::abort();
}

class Memory final : public assist::PhysicalMemory, public assist::PortAccess {
  public:
    std::byte *ram(std::uint64_t gpa, std::size_t size, bool) override {
        require(size != 0 && (gpa & 0xfff) + size <= 0x1000);
        return gpa < ram_bytes && gpa + size <= ram_bytes ? bytes.data() + gpa : nullptr;
    }
    std::uint64_t mmio_read(std::uint64_t gpa, unsigned size) override {
        touch(size);
        return gpa * 0x9e37'79b9'7f4a'7c15;
    }
    void mmio_write(std::uint64_t, unsigned size, std::uint64_t) override { touch(size); }
    std::uint32_t in(std::uint16_t, unsigned) override { return ~touches++; }
    void out(std::uint16_t, unsigned, std::uint32_t) override { ++touches; }

    std::vector<std::byte> bytes = std::vector<std::byte>(ram_bytes);
    std::uint32_t touches = 0;

  private:
    void touch(unsigned size) {
        require(size == 1 || size == 2 || size == 4 || size == 8);
        ++touches;
    }
};

class Vectors final : public assist::VectorRegisters {
  public:
    void read(unsigned index, std::span<std::byte, 64> to) override {
        require(index < 32);
        std::memset(to.data(), static_cast<int>(index), to.size());
    }
    void write(unsigned index, std::span<const std::byte, 64>) override { require(index < 32); }
};

// Takes what it wants from the front of the input; zeros when that is used up.
class Input {
  public:
    explicit Input(std::span<const std::uint8_t> data) : data_(data) {}
    template <typename T>
    T take() {
        T value{};
        const auto size = std::min(sizeof value, data_.size());
        std::memcpy(&value, data_.data(), size);
        data_ = data_.subspan(size);
        return value;
    }
    std::span<const std::uint8_t> rest() const { return data_; }

  private:
    std::span<const std::uint8_t> data_;
};

// Small numbers and addresses near memory are likelier than chance would have them.
std::uint64_t reg(Input &input) {
    const auto kind = input.take<std::uint8_t>();
    if (kind < 0x60) return input.take<std::uint16_t>();
    if (kind < 0xa0) return 0xfec0'0000 + input.take<std::uint8_t>();
    return input.take<std::uint64_t>();
}

hwv_regs make_registers(Input &input) {
    hwv_regs regs{};
    for (auto &value : regs.gpr)
        value = reg(input);
    regs.rip = input.take<std::uint16_t>();
    regs.rflags = input.take<std::uint32_t>() | 2;
    const auto mode = input.take<std::uint8_t>();
    for (auto &segment : regs.segment)
        segment = {reg(input), mode & 1 ? 0xffff'ffff : input.take<std::uint32_t>(), 0x10,
                   static_cast<std::uint16_t>(mode & 2 ? 0xc93 : input.take<std::uint16_t>())};
    regs.cr0 = static_cast<std::uint64_t>(mode >> 2 & 1) | std::uint64_t{mode >> 3 & 1U} << 31 |
               (input.take<std::uint32_t>() & 0x7fff'fffe);
    regs.cr3 = input.take<std::uint16_t>();
    regs.cr4 = input.take<std::uint32_t>();
    regs.efer = input.take<std::uint16_t>();
    regs.valid = HWV_REGS_ALL;
    return regs;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    Input input{{data, size}};
    Memory memory;
    Vectors vectors;
    auto regs = make_registers(input);
    const auto before = regs;
    const assist::Environment environment{.memory = memory, .vectors = &vectors};
    const auto io = input.take<std::uint8_t>();
    assist::Outcome outcome;
    if ((io & 0xf) == 0) {
        const assist::StringIo string{.port = 0x1f0,
                                      .size = 1U << (io >> 4 & 1),
                                      .is_write = (io & 0x20) != 0,
                                      .repeat = (io & 0x40) != 0,
                                      .segment = HWV_FS,
                                      .address_size = (io & 0x80) != 0 ? 8U : 2U,
                                      .next_rip = regs.rip + 2};
        outcome = assist::complete_string_io(regs, environment, string, memory);
    } else {
        const auto bytes = input.take<std::array<std::uint8_t, 15>>();
        const auto given = io >> 4;
        std::memcpy(memory.bytes.data(), input.rest().data(),
                    std::min(input.rest().size(), ram_bytes));
        outcome = assist::emulate(regs, environment,
                                  std::as_bytes(std::span{bytes}).first(std::min(given, 15)));
    }
    require(memory.touches <= 4 * 4096 + 64);
    if (outcome.status == assist::Status::unsupported)
        require(std::memcmp(&before, &regs, sizeof regs) == 0 && outcome.dirty == 0);
    if (outcome.status == assist::Status::again) require(regs.rip == before.rip);
    return 0;
}
