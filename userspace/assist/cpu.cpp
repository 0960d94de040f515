// SPDX-License-Identifier: GPL-2.0-only
#include "assist/cpu.hpp"

#include <algorithm>
#include <array>

#include "assist/segment.hpp"

namespace assist {
namespace {

constexpr std::uint64_t low_32 = 0xffff'ffff;

} // namespace

Cpu::Cpu(const hwv_regs &initial, Environment environment)
    : regs(initial),
      environment_(environment),
      long_mode_((initial.efer & efer_lma) != 0 &&
                 (initial.segment[HWV_CS].attributes & attr_long) != 0),
      real_or_v86_((initial.cr0 & cr0_pe) == 0 || (initial.rflags & flag_virtual_8086) != 0) {}

VectorRegisters &Cpu::vectors() const {
    if (environment_.vectors == nullptr)
        throw Unsupported{"an SSE or AVX register is needed and there is no access to it"};
    return *environment_.vectors;
}

unsigned Cpu::code_width() const {
    if (long_mode_) return 64;
    return (regs.segment[HWV_CS].attributes & attr_big) != 0 ? 32 : 16;
}

unsigned Cpu::stack_width() const {
    if (long_mode_) return 64;
    return (regs.segment[HWV_SS].attributes & attr_big) != 0 ? 32 : 16;
}

unsigned Cpu::cpl() const {
    if ((regs.cr0 & cr0_pe) == 0) return 0;
    if ((regs.rflags & flag_virtual_8086) != 0) return 3;
    return regs.segment[HWV_SS].attributes >> 5 & 3;
}

std::uint64_t Cpu::gpr(unsigned index, unsigned width) const {
    return truncate(regs.gpr[index], width);
}

void Cpu::set_gpr(unsigned index, unsigned width, std::uint64_t value) {
    const auto kept = width >= 32 ? 0 : regs.gpr[index] & ~truncate(~std::uint64_t{0}, width);
    regs.gpr[index] = kept | truncate(value, width);
}

void Cpu::advance_gpr(unsigned index, unsigned width, std::uint64_t by) {
    set_gpr(index, width, regs.gpr[index] + by);
}

bool Cpu::canonical(std::uint64_t address) const {
    const unsigned unused = (regs.cr4 & cr4_la57) != 0 ? 7 : 16;
    const auto extended = static_cast<std::int64_t>(address << unused) >> unused;
    return static_cast<std::uint64_t>(extended) == address;
}

void Cpu::check_segment(const hwv_segment &segment, std::uint64_t offset, unsigned size,
                        Access access, const Fault &fault) const {
    const unsigned attributes = segment.attributes;
    const unsigned type = attributes & attr_type;
    if (!real_or_v86_) {
        const bool usable = (attributes & attr_present) != 0 && (attributes & attr_unusable) == 0;
        const bool code = (type & attr_code) != 0;
        const bool readable = !code || (type & attr_writable) != 0;
        const bool writable = !code && (type & attr_writable) != 0;
        if (!usable || !(access == Access::write ? writable : readable)) throw fault;
    }
    const auto last = offset + size - 1;
    const bool expand_down =
        !real_or_v86_ && (type & (attr_code | attr_expand_down)) == attr_expand_down;
    if (expand_down) {
        const std::uint64_t top = (attributes & attr_big) != 0 ? low_32 : 0xffff;
        if (offset <= segment.limit || last > top) throw fault;
    } else if (last > segment.limit) {
        throw fault;
    }
}

std::uint64_t Cpu::linear(unsigned index, std::uint64_t offset, unsigned size,
                          Access access) const {
    const auto &segment = regs.segment[index];
    const Fault fault{index == HWV_SS ? vector_stack : vector_protection, true, 0, 0};
    if (!long_mode_) {
        check_segment(segment, offset, size, access, fault);
        return (segment.base + offset) & low_32;
    }
    const bool has_base = index == HWV_FS || index == HWV_GS;
    const auto address = offset + (has_base ? segment.base : 0);
    if (!canonical(address) || !canonical(address + size - 1)) throw fault;
    return address;
}

PagingState Cpu::paging() const {
    return {.cr0 = regs.cr0,
            .cr3 = regs.cr3,
            .cr4 = regs.cr4,
            .efer = regs.efer,
            .pkru = environment_.pkru,
            .user = cpl() == 3,
            .access_allowed = flag(flag_alignment),
            .physical_bits = environment_.physical_bits};
}

Place Cpu::place(unsigned segment, std::uint64_t offset, unsigned size, Access access,
                 unsigned alignment) const {
    const auto address = linear(segment, offset, size, access);
    if ((address & (alignment - 1)) != 0) throw Fault{vector_protection, true, 0, 0};
    const bool checks_alignment =
        cpl() == 3 && (regs.cr0 & cr0_am) != 0 && flag(flag_alignment) && size <= 8;
    if (checks_alignment && (address & (size - 1)) != 0) throw Fault{vector_alignment, true, 0, 0};
    return translate_range(environment_.memory, paging(), address, size, access);
}

std::uint64_t Cpu::read(const Place &place) const {
    std::uint64_t value = 0;
    unsigned size = 0;
    for (unsigned i = 0; i < place.count; ++i)
        size += place.pieces[i].size;
    read_place(environment_.memory, place,
               std::as_writable_bytes(std::span{&value, 1}).first(size));
    return value;
}

void Cpu::write(const Place &place, std::uint64_t value) const {
    write_place(environment_.memory, place, std::as_bytes(std::span{&value, 1}));
}

void Cpu::jump(std::uint64_t target) {
    const bool valid = long_mode_ ? canonical(target) : target <= regs.segment[HWV_CS].limit;
    if (!valid) throw Fault{vector_protection, true, 0, 0};
    regs.rip = target;
}

std::uint64_t Cpu::code_address(std::uint64_t offset) const {
    const auto address = regs.rip + offset;
    const Fault fault{vector_protection, true, 0, 0};
    if (long_mode_) {
        if (!canonical(address)) throw fault;
        return address;
    }
    if ((address & low_32) > regs.segment[HWV_CS].limit) throw fault;
    return (regs.segment[HWV_CS].base + address) & low_32;
}

unsigned Cpu::fetch(std::span<std::byte, 15> to) const {
    unsigned got = 0;
    while (got < to.size()) {
        try {
            const auto address = code_address(got);
            const auto gpa = translate(memory(), paging(), address, Access::execute);
            const auto in_page = page_size - (address & (page_size - 1));
            const auto size =
                static_cast<unsigned>(std::min<std::uint64_t>(to.size() - got, in_page));
            const auto *ram = memory().ram(gpa, size, false);
            if (ram == nullptr) throw Unsupported{"the instruction is not in RAM"};
            std::copy_n(ram, size, to.begin() + got);
            got += size;
        } catch (const Fault &) {
            if (got == 0) throw;
            return got;
        }
    }
    return got;
}

void Cpu::raise_fetch_fault(unsigned offset) const {
    translate(memory(), paging(), code_address(offset), Access::execute);
    throw Unsupported{"the instruction changes while it is read"};
}

std::uint32_t deliver(hwv_regs &regs, const Fault &fault) {
    regs.event.type = HWV_EVENT_EXCEPTION;
    regs.event.vector = fault.vector;
    regs.event.has_error_code = fault.has_error_code;
    regs.event.error_code = fault.error_code;
    if (fault.vector != vector_page_fault) return HWV_REGS_EVENT;
    regs.cr2 = fault.address;
    return HWV_REGS_EVENT | HWV_REGS_CONTROL;
}

} // namespace assist
