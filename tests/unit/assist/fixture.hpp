// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "assist/emulate.hpp"

namespace assist_test {

using assist::Outcome;
using assist::Status;

struct Touch {
    char kind; // 'r' or 'w'
    std::uint64_t gpa;
    unsigned size;
    std::uint64_t value;
    bool operator==(const Touch &) const = default;
};

// RAM from 0, and a device that remembers what is written and who touched it.
class FakeMemory final : public assist::PhysicalMemory {
  public:
    static constexpr std::uint64_t ram_bytes = 0x20'0000;
    static constexpr std::uint64_t device = 0x2000'0000;
    static constexpr std::uint64_t device_bytes = 0x4000;

    std::byte *ram(std::uint64_t gpa, std::size_t size, bool write) override {
        if (gpa + size > ram_bytes || (write && gpa >= rom_start && gpa < rom_end)) return nullptr;
        return bytes_.data() + gpa;
    }
    std::uint64_t mmio_read(std::uint64_t gpa, unsigned size) override {
        std::uint64_t value = 0;
        if (in_device(gpa, size)) std::memcpy(&value, registers.data() + (gpa - device), size);
        log.push_back({'r', gpa, size, value});
        return value;
    }
    void mmio_write(std::uint64_t gpa, unsigned size, std::uint64_t value) override {
        if (in_device(gpa, size)) std::memcpy(registers.data() + (gpa - device), &value, size);
        log.push_back({'w', gpa, size, value});
    }

    template <typename T>
    T get(std::uint64_t gpa) const {
        T value;
        std::memcpy(&value, bytes_.data() + gpa, sizeof value);
        return value;
    }
    template <typename T>
    void put(std::uint64_t gpa, T value) {
        std::memcpy(bytes_.data() + gpa, &value, sizeof value);
    }

    std::vector<std::byte> registers = std::vector<std::byte>(device_bytes);
    std::vector<Touch> log;
    std::uint64_t rom_start = 0;
    std::uint64_t rom_end = 0;

  private:
    static bool in_device(std::uint64_t gpa, unsigned size) {
        EXPECT_TRUE(size == 1 || size == 2 || size == 4 || size == 8);
        return gpa >= device && gpa + size <= device + device_bytes;
    }
    alignas(4096) std::array<std::byte, ram_bytes> bytes_{};
};

class FakeVectors final : public assist::VectorRegisters {
  public:
    void read(unsigned index, std::span<std::byte, 64> to) override {
        std::copy(values[index].begin(), values[index].end(), to.begin());
    }
    void write(unsigned index, std::span<const std::byte, 64> from) override {
        std::copy(from.begin(), from.end(), values[index].begin());
    }
    std::array<std::array<std::byte, 64>, 32> values{};
};

constexpr std::uint16_t attr_code = 0x9b;
constexpr std::uint16_t attr_data = 0x93;
constexpr std::uint16_t attr_long = 1 << 9;
constexpr std::uint16_t attr_big = 1 << 10;
constexpr std::uint16_t attr_user = 3 << 5;

// A guest at a place where it has code at 0x1000 and a stack below 0x8000; tables for an identity
// map of the first GiB at 0x10000.
class Guest {
  public:
    static constexpr std::uint64_t code = 0x1000;
    static constexpr std::uint64_t tables = 0x1'0000;

    std::unique_ptr<FakeMemory> memory = std::make_unique<FakeMemory>();
    FakeVectors vectors;
    hwv_regs regs{};

    static Guest long_mode() {
        Guest guest;
        guest.flat(attr_code | attr_long, attr_data | attr_big);
        guest.regs.cr0 = 0x8001'0001;
        guest.regs.cr4 = 0x20;
        guest.regs.efer = 0xd00;
        guest.regs.cr3 = tables;
        guest.memory->put<std::uint64_t>(tables, (tables + 0x1000) | 7);
        guest.memory->put<std::uint64_t>(tables + 0x1000, 0x87);
        return guest;
    }
    static Guest protected_mode() {
        Guest guest;
        guest.flat(attr_code | attr_big, attr_data | attr_big);
        guest.regs.cr0 = 1;
        return guest;
    }
    static Guest real_mode() {
        Guest guest;
        guest.flat(attr_code, attr_data);
        for (auto &segment : guest.regs.segment)
            segment.limit = 0xffff;
        return guest;
    }

    void enter_user() {
        for (auto &segment : regs.segment)
            segment.attributes |= attr_user;
    }

    Outcome emulate(std::initializer_list<unsigned> instruction) {
        std::vector<std::byte> bytes;
        for (const auto byte : instruction)
            bytes.push_back(static_cast<std::byte>(byte));
        return emulate(bytes);
    }
    Outcome emulate(std::span<const std::byte> bytes) {
        regs.event.type = HWV_EVENT_NONE; // as if an earlier exception had been delivered
        return assist::emulate(regs, {*memory, &vectors}, bytes);
    }

  private:
    void flat(unsigned code_attributes, unsigned data_attributes) {
        for (auto &segment : regs.segment)
            segment = {0, 0xffff'ffff, 0x18, static_cast<std::uint16_t>(data_attributes)};
        regs.segment[HWV_CS].attributes = static_cast<std::uint16_t>(code_attributes);
        regs.rip = code;
        regs.rflags = 2;
        regs.gpr[HWV_RSP] = 0x8000;
    }
};

} // namespace assist_test
