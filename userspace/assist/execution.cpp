// SPDX-License-Identifier: GPL-2.0-only
#include "assist/execution.hpp"

namespace assist {
namespace {

// Zydis numbers AH, CH, DH, BH between BL and SPL.
constexpr unsigned first_high_byte = 4;
constexpr unsigned after_high_bytes = 8;

unsigned segment_index(ZydisRegister name) {
    switch (name) {
    case ZYDIS_REGISTER_ES: return HWV_ES;
    case ZYDIS_REGISTER_CS: return HWV_CS;
    case ZYDIS_REGISTER_SS: return HWV_SS;
    case ZYDIS_REGISTER_FS: return HWV_FS;
    case ZYDIS_REGISTER_GS: return HWV_GS;
    default: return HWV_DS;
    }
}

} // namespace

std::uint64_t Execution::read_register(ZydisRegister name, unsigned width) const {
    const auto kind = ZydisRegisterGetClass(name);
    const auto id = static_cast<unsigned>(ZydisRegisterGetId(name));
    switch (kind) {
    case ZYDIS_REGCLASS_GPR8:
        if (id >= first_high_byte && id < after_high_bytes)
            return cpu.gpr(id - first_high_byte, 16) >> 8;
        return cpu.gpr(id < first_high_byte ? id : id - first_high_byte, 8);
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return cpu.gpr(id, width);
    case ZYDIS_REGCLASS_SEGMENT: return cpu.regs.segment[segment_index(name)].selector;
    default: throw Unsupported{"the instruction uses a register that is not emulated"};
    }
}

void Execution::write_register(ZydisRegister name, unsigned width, std::uint64_t value) {
    const auto kind = ZydisRegisterGetClass(name);
    const auto id = static_cast<unsigned>(ZydisRegisterGetId(name));
    switch (kind) {
    case ZYDIS_REGCLASS_GPR8:
        if (id >= first_high_byte && id < after_high_bytes) {
            auto &whole = cpu.regs.gpr[id - first_high_byte];
            whole = (whole & ~std::uint64_t{0xff00}) | (value & 0xff) << 8;
            return;
        }
        return cpu.set_gpr(id < first_high_byte ? id : id - first_high_byte, 8, value);
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return cpu.set_gpr(id, width, value);
    default: throw Unsupported{"the instruction uses a register that is not emulated"};
    }
}

void Execution::require_integer_operands() const {
    for (unsigned i = 0; i < in.info.operand_count_visible; ++i) {
        if (operand(i).type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        const auto kind = ZydisRegisterGetClass(operand(i).reg.value);
        const bool written = (operand(i).actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
        const bool general = kind == ZYDIS_REGCLASS_GPR8 || kind == ZYDIS_REGCLASS_GPR16 ||
                             kind == ZYDIS_REGCLASS_GPR32 || kind == ZYDIS_REGCLASS_GPR64;
        if (!general && (written || kind != ZYDIS_REGCLASS_SEGMENT))
            throw Unsupported{"the instruction uses a register that is not emulated"};
    }
}

std::uint64_t Execution::address_register(ZydisRegister name) const {
    if (name == ZYDIS_REGISTER_NONE) return 0;
    if (ZydisRegisterGetClass(name) == ZYDIS_REGCLASS_IP) return cpu.regs.rip;
    return read_register(name,
                         static_cast<unsigned>(ZydisRegisterGetWidth(in.info.machine_mode, name)));
}

std::uint64_t Execution::offset(unsigned index) const {
    const auto &mem = operand(index).mem;
    const auto displacement = mem.disp.has_displacement ? mem.disp.value : 0;
    const auto sum = address_register(mem.base) + address_register(mem.index) * mem.scale +
                     static_cast<std::uint64_t>(displacement);
    return truncate(sum, in.address_width());
}

unsigned Execution::segment(unsigned index) const {
    return segment_index(operand(index).mem.segment);
}

const Place &Execution::place(unsigned index, std::uint64_t displacement, unsigned alignment) {
    if (!place_) {
        const bool writes = (operand(index).actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
        const auto at = truncate(offset(index) + displacement, in.address_width());
        place_ = cpu.place(segment(index), at, width(index) / 8,
                           writes ? Access::write : Access::read, alignment);
    }
    return *place_;
}

std::uint64_t Execution::read(unsigned index) {
    const auto &op = operand(index);
    switch (op.type) {
    case ZYDIS_OPERAND_TYPE_REGISTER: return read_register(op.reg.value, width(index));
    case ZYDIS_OPERAND_TYPE_MEMORY: return cpu.read(place(index));
    case ZYDIS_OPERAND_TYPE_IMMEDIATE: return op.imm.value.u;
    default: throw Unsupported{"the instruction has an operand that is not emulated"};
    }
}

void Execution::write(unsigned index, std::uint64_t value) {
    const auto &op = operand(index);
    if (op.type == ZYDIS_OPERAND_TYPE_MEMORY) return cpu.write(place(index), value);
    write_register(op.reg.value, width(index), value);
}

} // namespace assist
