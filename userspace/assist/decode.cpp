// SPDX-License-Identifier: GPL-2.0-only
#include "assist/decode.hpp"

#include <algorithm>

namespace assist {
namespace {

ZydisDecoder make_decoder(const Cpu &cpu) {
    ZydisDecoder decoder;
    ZyanStatus status = ZYAN_STATUS_SUCCESS;
    if (cpu.long_mode())
        status = ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    else if (cpu.code_width() == 32)
        status = ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    else if (cpu.real_or_v86())
        status = ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16);
    else
        status = ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    if (ZYAN_FAILED(status)) throw Unsupported{"the decoder does not know this mode"};
    return decoder;
}

} // namespace

DecodeStatus decode(const Cpu &cpu, std::span<const std::byte> bytes, Instruction &instruction) {
    const auto decoder = make_decoder(cpu);
    const auto status = ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(),
                                               &instruction.info, instruction.operands.data());
    if (ZYAN_SUCCESS(status)) return DecodeStatus::done;
    return status == ZYDIS_STATUS_NO_MORE_DATA ? DecodeStatus::incomplete : DecodeStatus::invalid;
}

Instruction decode_or_fetch(const Cpu &cpu, std::span<const std::byte> bytes) {
    Instruction instruction;
    std::array<std::byte, 15> fetched;
    bytes = bytes.first(std::min(bytes.size(), fetched.size()));
    auto status = bytes.empty() ? DecodeStatus::incomplete : decode(cpu, bytes, instruction);
    if (status == DecodeStatus::incomplete) {
        const auto size = cpu.fetch(fetched);
        status = decode(cpu, std::span{fetched}.first(size), instruction);
        if (status == DecodeStatus::incomplete && size < fetched.size())
            cpu.raise_fetch_fault(size);
    }
    if (status != DecodeStatus::done) throw Unsupported{"the instruction cannot be decoded"};
    return instruction;
}

} // namespace assist
