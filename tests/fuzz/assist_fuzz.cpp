// SPDX-License-Identifier: GPL-2.0-only
// Any instruction bytes, registers, page tables and modes for the emulator, any tasks for its task
// switch: it must end, stay inside its memory, move a bounded number of bytes, and change nothing
// when it refuses.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "assist/string_io.hpp"
#include "assist/task_switch.hpp"

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
    void in_many(std::uint16_t, unsigned size, std::span<std::byte> to) override {
        require(to.size() % size == 0 && to.size() <= 4096);
        std::memset(to.data(), static_cast<int>(touches++), to.size());
    }
    void out_many(std::uint16_t, unsigned size, std::span<const std::byte> from) override {
        require(from.size() % size == 0 && from.size() <= 4096);
        ++touches;
    }

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

bool odd(Input &input) { return (input.take<std::uint8_t>() & 1) != 0; }

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

assist::Outcome string_io(hwv_regs &regs, const assist::Environment &environment, Memory &memory,
                          unsigned how) {
    const assist::StringIo string{.port = 0x1f0,
                                  .size = 1U << (how & 1),
                                  .is_write = (how & 2) != 0,
                                  .repeat = (how & 4) != 0,
                                  .segment = HWV_FS,
                                  .address_size = (how & 8) != 0 ? 8U : 2U,
                                  .next_rip = regs.rip + 2};
    return assist::complete_string_io(regs, environment, string, memory);
}

// Two tasks that would work, but for some bytes.
void put_tasks(hwv_regs &regs, Memory &memory, Input &input) {
    constexpr std::uint16_t gdt = 0x8000, tss = 0x8100;
    constexpr std::uint64_t flat = 0x00cf'9200'0000'ffff;
    const auto put = [&](unsigned at, auto value) {
        std::memcpy(memory.bytes.data() + at, &value, sizeof value);
    };
    put(gdt + 0x08, flat | 8ULL << 40);
    put(gdt + 0x10, flat);
    put(gdt + 0x18, 0x0000'8900'0000'0067 | std::uint64_t{tss} << 16);
    put(gdt + 0x20, 0x0000'8200'0000'00ff | std::uint64_t{gdt} << 16);
    for (unsigned n = 0; n < 6; ++n)
        put(tss + 0x48 + 4 * n, n == HWV_CS ? 8 : 0x10);
    put(tss + 0x60, 0x20);
    for (auto n = input.take<std::uint8_t>() % 8; n > 0; --n) {
        const auto at = gdt + input.take<std::uint8_t>() % 0x68U;
        put(odd(input) ? at : at + 0x100, input.take<std::uint8_t>());
    }
    regs.gdtr = {gdt, 0x27, 0};
    regs.segment[HWV_TR] = {0x8200, 0x67, 0x18, 0x8b};
    regs.cr0 |= 1;
    regs.efer = 0;
}

// What the kernel says is what it may say; the rest is the guest's.
assist::Outcome task_switch(hwv_regs &regs, const assist::Environment &environment, Input &input,
                            unsigned how) {
    hwv_exit_task_switch task{.selector = 0x18, .source = static_cast<__u8>(how & 3)};
    if (odd(input)) task.selector = input.take<std::uint8_t>();
    const auto next = how & 4 ? regs.rip + 2 : 0;
    if (task.source == HWV_TASK_GATE) {
        task.event_type = static_cast<__u8>(1 + input.take<std::uint8_t>() % 4);
        task.event_vector = input.take<std::uint8_t>();
        task.has_error_code = how >> 3 & 1;
        task.error_code = input.take<std::uint32_t>();
    }
    return assist::switch_task(regs, environment, task, next);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    Input input{{data, size}};
    Memory memory;
    Vectors vectors;
    auto regs = make_registers(input);
    const assist::Environment environment{.memory = memory, .vectors = &vectors};
    const auto io = input.take<std::uint8_t>();
    const auto how = static_cast<unsigned>(io >> 4);
    const auto bytes = input.take<std::array<std::uint8_t, 15>>();
    std::memcpy(memory.bytes.data(), input.rest().data(), std::min(input.rest().size(), ram_bytes));
    const bool task = (io & 0xf) == 1;
    if (task && odd(input)) put_tasks(regs, memory, input);
    const auto before = regs;
    assist::Outcome outcome;
    if ((io & 0xf) == 0)
        outcome = string_io(regs, environment, memory, how);
    else if (task)
        outcome = task_switch(regs, environment, input, how);
    else
        outcome = assist::emulate(regs, environment,
                                  std::as_bytes(std::span{bytes}).first(std::min(how, 15U)));
    require(memory.touches <= 4 * 4096 + 64);
    if (outcome.status == assist::Status::unsupported)
        require(std::memcmp(&before, &regs, sizeof regs) == 0 && outcome.dirty == 0);
    if (outcome.status == assist::Status::again) require(regs.rip == before.rip);
    return 0;
}
