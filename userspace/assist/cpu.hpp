// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "assist/control_bits.hpp"
#include "assist/fault.hpp"
#include "assist/memory.hpp"
#include "assist/paging.hpp"
#include "hwv_run.h"

namespace assist {

// XMM, YMM and ZMM registers are not in the run page; they are asked for when an instruction has
// one.
class VectorRegisters {
  public:
    virtual ~VectorRegisters() = default;
    // All 64 bytes of register `index`; parts that the CPU does not have read as zero and are
    // ignored on writes.
    virtual void read(unsigned index, std::span<std::byte, 64> to) = 0;
    virtual void write(unsigned index, std::span<const std::byte, 64> from) = 0;
};

// What a guest's access depends on that its registers do not hold.
struct Environment {
    PhysicalMemory &memory;
    VectorRegisters *vectors = nullptr; // null: instructions with such a register are unsupported
    std::uint32_t pkru = 0;
    unsigned physical_bits = 52;
};

// The vCPU's registers with the rules by which instructions see them. It works on its own copy, so
// that an instruction that faults half-way has changed nothing: the owner takes `regs` over at the
// end.
class Cpu {
  public:
    Cpu(const hwv_regs &initial, Environment environment);

    hwv_regs regs;

    PhysicalMemory &memory() const { return environment_.memory; }
    VectorRegisters &vectors() const;

    bool long_mode() const { return long_mode_; } // 64-bit code
    bool real_or_v86() const { return real_or_v86_; }
    unsigned code_width() const;  // 16, 32, 64: the mode of the code segment
    unsigned stack_width() const; // of the stack pointer
    unsigned cpl() const;

    // `width` is 8, 16, 32 or 64; writes of 32 bits clear the upper half, narrower ones keep it.
    std::uint64_t gpr(unsigned index, unsigned width) const;
    void set_gpr(unsigned index, unsigned width, std::uint64_t value);
    // Moves the part of a register that an address of `width` bits uses.
    void advance_gpr(unsigned index, unsigned width, std::uint64_t by);

    std::uint64_t flags() const { return regs.rflags; }
    bool flag(std::uint64_t bit) const { return (regs.rflags & bit) != 0; }
    void set_flags(std::uint64_t flags) { regs.rflags = flags; }

    // Segmentation, alignment and paging checks for a data access; throws Fault. An address that is
    // not a multiple of `alignment` raises #GP, whatever the alignment check flag says.
    Place place(unsigned segment, std::uint64_t offset, unsigned size, Access access,
                unsigned alignment = 1) const;
    std::uint64_t read(const Place &place) const; // up to 8 bytes
    void write(const Place &place, std::uint64_t value) const;

    // A near transfer of control; throws #GP for a target outside of the code segment.
    void jump(std::uint64_t target);

    // Up to 15 bytes at CS:RIP, fewer when the next page cannot be fetched. Throws the fault of the
    // first byte.
    unsigned fetch(std::span<std::byte, 15> to) const;
    // The fault that fetching one byte at CS:RIP + `offset` has; Unsupported when there is none.
    [[noreturn]] void raise_fetch_fault(unsigned offset) const;

  private:
    std::uint64_t linear(unsigned segment, std::uint64_t offset, unsigned size,
                         Access access) const;
    void check_segment(const hwv_segment &segment, std::uint64_t offset, unsigned size,
                       Access access, const Fault &fault) const;
    std::uint64_t code_address(std::uint64_t offset) const;
    bool canonical(std::uint64_t address) const;
    PagingState paging() const;

    Environment environment_;
    bool long_mode_;
    bool real_or_v86_;
};

// Masks an offset to an address size of 16, 32 or 64 bits.
constexpr std::uint64_t truncate(std::uint64_t value, unsigned width) {
    return value & (~std::uint64_t{0} >> (64 - width));
}

// Sets up delivery of `fault` by the next entry: event, CR2. Returns the groups of registers
// changed.
std::uint32_t deliver(hwv_regs &regs, const Fault &fault);

} // namespace assist
