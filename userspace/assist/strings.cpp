// SPDX-License-Identifier: GPL-2.0-only
// MOVS, STOS, LODS, CMPS, SCAS, and the completion of INS and OUTS, whose exits come decoded.
#include <algorithm>
#include <array>

#include "assist/alu.hpp"
#include "assist/completion.hpp"
#include "assist/execution.hpp"
#include "assist/string_io.hpp"

namespace assist {
namespace {

// What all string instructions have in common: element size, address size, source segment,
// repetition.
struct Frame {
    Cpu &cpu;
    unsigned width; // of an element, in bits
    unsigned address_width;
    unsigned source_segment;

    Place source() const {
        return cpu.place(source_segment, cpu.gpr(HWV_RSI, address_width), width / 8, Access::read);
    }
    Place destination(Access access) const {
        return cpu.place(HWV_ES, cpu.gpr(HWV_RDI, address_width), width / 8, access);
    }
    void step(unsigned index) const {
        const std::uint64_t bytes = width / 8;
        cpu.advance_gpr(index, address_width, cpu.flag(flag_direction) ? 0 - bytes : bytes);
    }
};

void move_element(const Frame &frame) {
    const auto from = frame.source();
    const auto to = frame.destination(Access::write);
    frame.cpu.write(to, frame.cpu.read(from));
    frame.step(HWV_RSI);
    frame.step(HWV_RDI);
}

void store_element(const Frame &frame) {
    frame.cpu.write(frame.destination(Access::write), frame.cpu.gpr(HWV_RAX, frame.width));
    frame.step(HWV_RDI);
}

void load_element(const Frame &frame) {
    frame.cpu.set_gpr(HWV_RAX, frame.width, frame.cpu.read(frame.source()));
    frame.step(HWV_RSI);
}

void compare(const Frame &frame, std::uint64_t a, std::uint64_t b) {
    frame.cpu.set_flags(alu::subtract(a, b, false, frame.width, frame.cpu.flags()).flags);
}

void compare_elements(const Frame &frame) {
    const auto first = frame.source();
    const auto second = frame.destination(Access::read);
    const auto a = frame.cpu.read(first);
    compare(frame, a, frame.cpu.read(second));
    frame.step(HWV_RSI);
    frame.step(HWV_RDI);
}

void scan_element(const Frame &frame) {
    const auto element = frame.cpu.read(frame.destination(Access::read));
    compare(frame, frame.cpu.gpr(HWV_RAX, frame.width), element);
    frame.step(HWV_RDI);
}

using Element = void (*)(const Frame &);

// By opcode without its width bit.
Element find_element(unsigned opcode) {
    switch (opcode & 0xfe) {
    case 0xa4: return move_element;
    case 0xa6: return compare_elements;
    case 0xaa: return store_element;
    case 0xac: return load_element;
    case 0xae: return scan_element;
    default: throw Unsupported{"a string instruction that is not emulated"};
    }
}

// The segment of the source can be overridden, the destination's is always ES.
unsigned source_segment(const Execution &e) {
    for (unsigned i = 0; i < e.in.info.operand_count; ++i) {
        if (!e.is_memory(i)) continue;
        const auto base = e.operand(i).mem.base;
        if (base == ZYDIS_REGISTER_SI || base == ZYDIS_REGISTER_ESI || base == ZYDIS_REGISTER_RSI)
            return e.segment(i);
    }
    return HWV_DS;
}

enum class Repeat : std::uint8_t { none, while_zero, while_not_zero };

// The last of the two prefixes counts; for instructions without a condition they are the same.
Repeat repeat_of(const Instruction &in) {
    auto repeat = Repeat::none;
    for (unsigned i = 0; i < in.info.raw.prefix_count; ++i) {
        if (in.info.raw.prefixes[i].value == 0xf3)
            repeat = Repeat::while_zero;
        else if (in.info.raw.prefixes[i].value == 0xf2)
            repeat = Repeat::while_not_zero;
    }
    return repeat;
}

// Iterates `element` as REP does. `more` is asked after each iteration. A single-stepping guest
// traps after each.
template <typename Once, typename More>
bool repeat(const Frame &frame, Once element, More more) {
    auto budget = std::max(1U, string_bytes_at_once / (frame.width / 8));
    if (frame.cpu.flag(flag_trap)) budget = 1;
    for (bool first = true; frame.cpu.gpr(HWV_RCX, frame.address_width) != 0; first = false) {
        if (budget-- == 0) return false;
        try {
            element(frame);
        } catch (const Unsupported &) {
            if (first) throw;
            return false; // what is done is done; the next call meets the obstacle at its first
                          // iteration
        }
        frame.cpu.advance_gpr(HWV_RCX, frame.address_width, ~std::uint64_t{0});
        if (!more()) return true;
    }
    return true;
}

// Elements of INS or OUTS that go up through RAM, where none of them can fault: all at once. False,
// and nothing done, where they do not.
bool move_together(const Frame &frame, const StringIo &io, PortAccess &ports) {
    Cpu &cpu = frame.cpu;
    if (cpu.flag(flag_direction) || cpu.flag(flag_trap)) return false;
    const unsigned index = io.is_write ? HWV_RSI : HWV_RDI;
    const auto offset = cpu.gpr(index, frame.address_width);
    // Not up to where addresses begin anew.
    const auto room = truncate(~std::uint64_t{0}, frame.address_width) - offset;
    const auto count = std::min({cpu.gpr(HWV_RCX, frame.address_width), room / io.size,
                                 std::uint64_t{string_bytes_at_once / io.size}});
    if (count < 2) return false;
    std::array<std::byte, string_bytes_at_once> buffer;
    const auto bytes = std::span{buffer}.first(count * io.size);
    Place place;
    try {
        place =
            io.is_write
                ? cpu.place(io.segment, offset, static_cast<unsigned>(bytes.size()), Access::read)
                : cpu.place(HWV_ES, offset, static_cast<unsigned>(bytes.size()), Access::write);
    } catch (const Fault &) {
        return false; // which element has it, one at a time will tell
    }
    for (unsigned i = 0; i < place.count; ++i)
        if (!cpu.memory().ram(place.pieces[i].gpa, place.pieces[i].size, !io.is_write))
            return false;
    if (io.is_write) {
        read_place(cpu.memory(), place, bytes);
        ports.out_many(io.port, io.size, bytes);
    } else {
        ports.in_many(io.port, io.size, bytes);
        write_place(cpu.memory(), place, bytes);
    }
    cpu.advance_gpr(index, frame.address_width, bytes.size());
    cpu.advance_gpr(HWV_RCX, frame.address_width, 0 - count);
    return true;
}

} // namespace

bool is_string(const Instruction &in) { return in.info.meta.category == ZYDIS_CATEGORY_STRINGOP; }

bool execute_string(Execution &e) {
    const unsigned opcode = e.in.info.opcode;
    const auto element = find_element(opcode);
    const Frame frame{e.cpu, (opcode & 1) != 0 ? e.in.operand_width() : 8U, e.in.address_width(),
                      source_segment(e)};
    const auto prefix = repeat_of(e.in);
    if (prefix == Repeat::none) {
        element(frame);
        return true;
    }
    const bool conditional = element == compare_elements || element == scan_element;
    return repeat(frame, element, [&] {
        return !conditional || e.cpu.flag(flag_zero) == (prefix == Repeat::while_zero);
    });
}

Outcome complete_string_io(hwv_regs &regs, const Environment &environment, const StringIo &io,
                           PortAccess &ports) {
    Cpu cpu{regs, environment};
    const Frame frame{cpu, io.size * 8U, io.address_size * 8U, io.segment};
    const auto input = [&](const Frame &f) {
        const auto to = f.destination(Access::write);
        cpu.write(to, ports.in(io.port, io.size));
        f.step(HWV_RDI);
    };
    const auto output = [&](const Frame &f) {
        ports.out(io.port, io.size, static_cast<std::uint32_t>(cpu.read(f.source())));
        f.step(HWV_RSI);
    };
    return run(regs, cpu, io.next_rip, true, [&] {
        if (!io.repeat) {
            io.is_write ? output(frame) : input(frame);
            return true;
        }
        if (move_together(frame, io, ports)) return cpu.gpr(HWV_RCX, frame.address_width) == 0;
        const auto always = [] { return true; };
        return io.is_write ? repeat(frame, output, always) : repeat(frame, input, always);
    });
}

} // namespace assist
