// SPDX-License-Identifier: GPL-2.0-only
// Moves between memory and XMM, YMM and ZMM registers.
#include <algorithm>
#include <array>

#include "assist/execution.hpp"

namespace assist {
namespace {

using Value = std::array<std::byte, 64>;

constexpr unsigned xmm_bytes = 16;
constexpr unsigned half_bytes = 8;

unsigned vector_register(const Execution &e, unsigned index) {
    const auto name = e.operand(index).reg.value;
    const auto kind = ZydisRegisterGetClass(name);
    if (kind != ZYDIS_REGCLASS_XMM && kind != ZYDIS_REGCLASS_YMM && kind != ZYDIS_REGCLASS_ZMM)
        throw Unsupported{"a vector move with a register that is not XMM, YMM or ZMM"};
    return static_cast<unsigned>(ZydisRegisterGetId(name));
}

Value read_vector(Execution &e, unsigned index) {
    Value value{};
    const auto number = vector_register(e, index);
    e.cpu.vectors().read(number, value);
    return value;
}

// EVEX has its mask as second operand, so it is the last one that is the other end of a move.
unsigned last(const Execution &e) { return e.in.info.operand_count_visible - 1U; }

void check_encoding(const Execution &e) {
    const auto mask = e.in.info.avx.mask.reg;
    if (mask != ZYDIS_REGISTER_NONE && mask != ZYDIS_REGISTER_K0)
        throw Unsupported{"a masked vector move"};
    if (e.is_memory(0) == e.is_memory(last(e))) throw Unsupported{"a vector move without memory"};
}

bool is_legacy(const Execution &e) {
    return e.in.info.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
}

// SSE encodings keep what is above an XMM register, VEX and EVEX clear all above what they load.
void move(Execution &e) {
    check_encoding(e);
    const auto memory = e.is_memory(0) ? 0 : last(e);
    const auto bytes = e.width(memory) / 8;
    if (memory == 0) {
        const auto value = read_vector(e, last(e));
        write_place(e.cpu.memory(), e.place(0), std::span{value}.first(bytes));
        return;
    }
    // The register first: a refusal must come before a device is read.
    auto value = read_vector(e, 0);
    if (is_legacy(e))
        std::fill_n(value.begin(), xmm_bytes, std::byte{});
    else
        value.fill(std::byte{});
    read_place(e.cpu.memory(), e.place(memory), std::span{value}.first(bytes));
    e.cpu.vectors().write(vector_register(e, 0), value);
}

void move_aligned(Execution &e) {
    check_encoding(e);
    const auto memory = e.is_memory(0) ? 0 : last(e);
    e.place(memory, 0, e.width(memory) / 8);
    move(e);
}

// MOVLPS and MOVHPS: one half; a load takes the other from its first source.
template <unsigned at>
void move_half(Execution &e) {
    check_encoding(e);
    if (e.is_memory(0)) {
        const auto value = read_vector(e, last(e));
        write_place(e.cpu.memory(), e.place(0), std::span{value}.subspan(at, half_bytes));
        return;
    }
    const auto memory = last(e);
    auto value = read_vector(e, memory == 2 ? 1 : 0);
    if (!is_legacy(e)) std::fill(value.begin() + xmm_bytes, value.end(), std::byte{});
    read_place(e.cpu.memory(), e.place(memory), std::span{value}.subspan(at, half_bytes));
    e.cpu.vectors().write(vector_register(e, 0), value);
}

struct Named {
    ZydisMnemonic mnemonic;
    Handler handler;
};

constexpr std::array handlers{
    Named{ZYDIS_MNEMONIC_MOVUPS, move},
    Named{ZYDIS_MNEMONIC_MOVUPD, move},
    Named{ZYDIS_MNEMONIC_MOVDQU, move},
    Named{ZYDIS_MNEMONIC_LDDQU, move},
    Named{ZYDIS_MNEMONIC_MOVD, move},
    Named{ZYDIS_MNEMONIC_MOVQ, move},
    Named{ZYDIS_MNEMONIC_MOVSS, move},
    Named{ZYDIS_MNEMONIC_MOVSD, move},
    Named{ZYDIS_MNEMONIC_MOVAPS, move_aligned},
    Named{ZYDIS_MNEMONIC_MOVAPD, move_aligned},
    Named{ZYDIS_MNEMONIC_MOVDQA, move_aligned},
    Named{ZYDIS_MNEMONIC_MOVNTPS, move_aligned},
    Named{ZYDIS_MNEMONIC_MOVNTPD, move_aligned},
    Named{ZYDIS_MNEMONIC_MOVNTDQ, move_aligned},
    Named{ZYDIS_MNEMONIC_MOVNTDQA, move_aligned},
    Named{ZYDIS_MNEMONIC_MOVLPS, move_half<0>},
    Named{ZYDIS_MNEMONIC_MOVLPD, move_half<0>},
    Named{ZYDIS_MNEMONIC_MOVHPS, move_half<half_bytes>},
    Named{ZYDIS_MNEMONIC_MOVHPD, move_half<half_bytes>},
    Named{ZYDIS_MNEMONIC_VMOVUPS, move},
    Named{ZYDIS_MNEMONIC_VMOVUPD, move},
    Named{ZYDIS_MNEMONIC_VMOVDQU, move},
    Named{ZYDIS_MNEMONIC_VMOVDQU8, move},
    Named{ZYDIS_MNEMONIC_VMOVDQU16, move},
    Named{ZYDIS_MNEMONIC_VMOVDQU32, move},
    Named{ZYDIS_MNEMONIC_VMOVDQU64, move},
    Named{ZYDIS_MNEMONIC_VLDDQU, move},
    Named{ZYDIS_MNEMONIC_VMOVD, move},
    Named{ZYDIS_MNEMONIC_VMOVQ, move},
    Named{ZYDIS_MNEMONIC_VMOVSS, move},
    Named{ZYDIS_MNEMONIC_VMOVSD, move},
    Named{ZYDIS_MNEMONIC_VMOVAPS, move_aligned},
    Named{ZYDIS_MNEMONIC_VMOVAPD, move_aligned},
    Named{ZYDIS_MNEMONIC_VMOVDQA, move_aligned},
    Named{ZYDIS_MNEMONIC_VMOVDQA32, move_aligned},
    Named{ZYDIS_MNEMONIC_VMOVDQA64, move_aligned},
    Named{ZYDIS_MNEMONIC_VMOVNTPS, move_aligned},
    Named{ZYDIS_MNEMONIC_VMOVNTPD, move_aligned},
    Named{ZYDIS_MNEMONIC_VMOVNTDQ, move_aligned},
    Named{ZYDIS_MNEMONIC_VMOVNTDQA, move_aligned},
    Named{ZYDIS_MNEMONIC_VMOVLPS, move_half<0>},
    Named{ZYDIS_MNEMONIC_VMOVLPD, move_half<0>},
    Named{ZYDIS_MNEMONIC_VMOVHPS, move_half<half_bytes>},
    Named{ZYDIS_MNEMONIC_VMOVHPD, move_half<half_bytes>},
};

} // namespace

Handler find_vector(ZydisMnemonic mnemonic) {
    for (const auto &named : handlers)
        if (named.mnemonic == mnemonic) return named.handler;
    return nullptr;
}

} // namespace assist
