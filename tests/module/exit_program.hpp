// SPDX-License-Identifier: GPL-2.0-only
// exit_program.hpp - exit programs assembled by hand: a test needs no compiler then.
#pragma once
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>
#include "hwv.h"
#include "module/report.hpp"

namespace exit_program {

using Context = hwv_program_context;

struct Store {
    std::size_t offset;
    std::uint8_t size; // BPF_W, BPF_DW
    std::int32_t value;
};
#define SET(field, value)                                                                          \
    exit_program::Store {                                                                          \
        offsetof(hwv_program_context, field),                                                      \
            sizeof(hwv_program_context::field) == 8 ? BPF_DW : BPF_W, value                        \
    }

inline bpf_insn insn(unsigned code, unsigned to, unsigned from, int offset, std::int32_t value) {
    bpf_insn i{};
    i.code = static_cast<__u8>(code);
    i.dst_reg = to & 15;
    i.src_reg = from & 15;
    i.off = static_cast<__s16>(offset);
    i.imm = value;
    return i;
}

inline long bpf(int command, bpf_attr &attr) {
    const long result = ::syscall(SYS_bpf, command, &attr, sizeof attr);
    return result < 0 ? -errno : result;
}

// R1 -> the context; the instructions; R0 = 0.
inline int load(std::vector<bpf_insn> middle,
                bpf_prog_type type = BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE) {
    std::vector<bpf_insn> code{insn(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0),
                               insn(BPF_LDX | BPF_MEM | BPF_DW, 1, 1, 0, 0)};
    code.insert(code.end(), middle.begin(), middle.end());
    code.push_back(insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0));
    code.push_back(insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
    bpf_attr attr{};
    attr.prog_type = type;
    attr.insns = reinterpret_cast<std::uint64_t>(code.data());
    attr.insn_cnt = static_cast<__u32>(code.size());
    attr.license = reinterpret_cast<std::uint64_t>("GPL");
    std::strcpy(attr.prog_name, "probe");
    const long fd = bpf(BPF_PROG_LOAD, attr);
    if (fd < 0) report("load", false, std::strerror(static_cast<int>(-fd)));
    return static_cast<int>(fd);
}

inline int storing(const std::vector<Store> &stores) {
    std::vector<bpf_insn> code;
    for (const Store &s : stores)
        code.push_back(insn(BPF_ST | BPF_MEM | s.size, 1, 0, static_cast<int>(s.offset), s.value));
    return load(code);
}

} // namespace exit_program
