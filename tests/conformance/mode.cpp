// SPDX-License-Identifier: GPL-2.0-only
#include "conformance/mode.hpp"
#include <algorithm>
#include <cstring>
#include "conformance/framework.hpp"

namespace conformance {
namespace {

constexpr std::uint64_t descriptor(std::uint64_t access, std::uint64_t flags) {
    return 0xffff | access << 40 | 0xfull << 48 | flags << 52;
}

void write_descriptors(std::span<std::uint8_t> memory, Mode mode) {
    const bool wide = in(long_modes, mode);
    constexpr std::uint64_t big = 0xc, small = 0x8, l = 0xa;
    const std::pair<std::uint16_t, std::uint64_t> table[] = {
        {sel_code, descriptor(0x9b, wide ? l : big)}, {sel_data, descriptor(0x93, big)},
        {sel_code16, descriptor(0x9b, small)},        {sel_code32, descriptor(0x9b, big)},
        {sel_user_code, descriptor(0xfb, big)},       {sel_user_data, descriptor(0xf3, big)},
        {sel_user_code64, descriptor(0xfb, l)},       {sel_absent, descriptor(0x13, big)},
    };
    for (const auto &[selector, value] : table)
        store(memory, at_gdt + (selector & ~7u), value, 8);
    store(memory, at_gdt + sel_tss, 0x1fff | at_tss << 16 | 0x8bull << 40,
          8); // limit 0x1fff: with the I/O bitmap
    store(memory, at_gdt + sel_tss + 8, 0, 8);
}

// Gates of the legacy kinds lead to 32-bit code at ring 0, those of long mode to 64-bit code. #BP,
// #OF and one more (0x80) may be asked for by user code.
void write_gates(std::span<std::uint8_t> memory, bool wide) {
    for (unsigned v = 0; v < 256; ++v) {
        const std::uint64_t handler = at_handlers + v * handler_size;
        const std::uint64_t dpl = v == 3 || v == 4 || v == 0x80 ? 3 : 0;
        const std::uint64_t gate =
            (handler & 0xffff) | std::uint64_t{sel_code} << 16 | (0x8eull | dpl << 5) << 40;
        if (wide) {
            store(memory, at_idt + 16 * v, gate, 8);
            store(memory, at_idt + 16 * v + 8, 0, 8);
        } else {
            store(memory, at_idt + 8 * v, gate, 8);
        }
    }
}

void write_tss(std::span<std::uint8_t> memory, bool wide) {
    std::memset(memory.data() + at_tss, 0, 0x2000);
    if (wide) {
        store(memory, at_tss + 4, at_kernel_stack, 8);
    } else {
        store(memory, at_tss + 4, at_kernel_stack, 4);
        store(memory, at_tss + 8, sel_data, 4);
    }
    store(memory, at_tss + 0x66, 0x68, 2); // the I/O bitmap: zero
}

constexpr std::uint16_t user_data = 0x0cf3, user_code = 0x0cfb, user_code64 = 0x0afb,
                        v86_segment = 0x00f3;

void make_user(hwv_regs &r, std::uint16_t selector, std::uint16_t code) {
    for (unsigned i = HWV_ES; i <= HWV_GS; ++i)
        r.segment[i] = {0, 0xffffffff, sel_user_data, user_data};
    r.segment[HWV_CS] = {0, 0xffffffff, selector, code};
}

hwv_regs start_of(std::span<std::uint8_t> memory, Mode mode) {
    switch (mode) {
    case Mode::real: return oracle::real_mode(0, at_code);
    case Mode::pae:
    case Mode::user_pae: return oracle::pae_mode(memory, at_code);
    case Mode::compat:
    case Mode::long64:
    case Mode::user64: return oracle::long_mode(memory, at_code);
    default: return oracle::protected_mode(memory, at_code);
    }
}

} // namespace

const char *name(Mode mode) {
    constexpr const char *names[mode_count] = {"real", "v86",      "prot16", "prot32", "user32",
                                               "pae",  "user_pae", "compat", "long64", "user64"};
    return names[static_cast<unsigned>(mode)];
}

std::uint64_t load(std::span<const std::uint8_t> memory, std::uint64_t at, unsigned bytes) {
    std::uint64_t value = 0;
    std::memcpy(&value, memory.data() + at, bytes);
    return value;
}

void store(std::span<std::uint8_t> memory, std::uint64_t at, std::uint64_t value, unsigned bytes) {
    std::memcpy(memory.data() + at, &value, bytes);
}

void put_handler(std::span<std::uint8_t> memory, unsigned vector,
                 std::span<const std::uint8_t> code) {
    std::copy(code.begin(), code.end(), memory.begin() + at_handlers + vector * handler_size);
}

hwv_regs prepare(std::span<std::uint8_t> memory, Mode mode) {
    std::memset(memory.data(), 0, used_memory);
    constexpr std::uint8_t halt = 0xf4;
    std::memset(memory.data() + at_handlers, halt, 256 * handler_size);
    hwv_regs r = start_of(memory, mode);
    r.gpr[HWV_RSP] = at_stack;
    if (mode == Mode::real) {
        for (unsigned v = 0; v < 256; ++v)
            store(memory, 4 * v, at_handlers + v * handler_size, 4);
        return r;
    }
    const bool wide = in(long_modes, mode);
    write_descriptors(memory, mode);
    write_gates(memory, wide);
    write_tss(memory, wide);
    r.idtr = {at_idt, wide ? 0xfffu : 0x7ffu, 0};
    // QEMU gives up at a privilege change by a busy one; VM entry wants it busy.
    constexpr std::uint16_t available = 0x89, busy = 0x8b;
    r.segment[HWV_TR] = {at_tss, 0x1fff, sel_tss, on_intel() ? busy : available};
    if (mode == Mode::prot16) r.segment[HWV_CS] = {0, 0xffffffff, sel_code16, 0x089b};
    if (mode == Mode::compat) r.segment[HWV_CS] = {0, 0xffffffff, sel_code32, oracle::code32};
    if (mode == Mode::user32 || mode == Mode::user_pae) make_user(r, sel_user_code, user_code);
    if (mode == Mode::user64) make_user(r, sel_user_code64, user_code64);
    if (mode == Mode::v86) {
        r.rflags |= 1u << 17;
        for (unsigned i = HWV_ES; i <= HWV_GS; ++i)
            r.segment[i] = {0, 0xffff, 0, v86_segment};
    }
    return r;
}

} // namespace conformance
