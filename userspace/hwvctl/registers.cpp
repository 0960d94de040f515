// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/registers.hpp"
#include <cstddef>
#include <cstring>
#include <iterator>
#include <fmt/format.h>
#include "hwvctl/options.hpp"

namespace hwvctl {
namespace {

constexpr std::size_t gpr(unsigned index) {
    return offsetof(hwv_regs, gpr) + index * sizeof(std::uint64_t);
}
constexpr std::size_t dr(unsigned index) {
    return offsetof(hwv_regs, dr) + index * sizeof(std::uint64_t);
}

constexpr Register all[] = {{"rax", HWV_REGS_GPR, gpr(HWV_RAX)},
                            {"rbx", HWV_REGS_GPR, gpr(HWV_RBX)},
                            {"rcx", HWV_REGS_GPR, gpr(HWV_RCX)},
                            {"rdx", HWV_REGS_GPR, gpr(HWV_RDX)},
                            {"rsi", HWV_REGS_GPR, gpr(HWV_RSI)},
                            {"rdi", HWV_REGS_GPR, gpr(HWV_RDI)},
                            {"rbp", HWV_REGS_GPR, gpr(HWV_RBP)},
                            {"rsp", HWV_REGS_GPR, gpr(HWV_RSP)},
                            {"r8", HWV_REGS_GPR, gpr(HWV_R8)},
                            {"r9", HWV_REGS_GPR, gpr(HWV_R9)},
                            {"r10", HWV_REGS_GPR, gpr(HWV_R10)},
                            {"r11", HWV_REGS_GPR, gpr(HWV_R11)},
                            {"r12", HWV_REGS_GPR, gpr(HWV_R12)},
                            {"r13", HWV_REGS_GPR, gpr(HWV_R13)},
                            {"r14", HWV_REGS_GPR, gpr(HWV_R14)},
                            {"r15", HWV_REGS_GPR, gpr(HWV_R15)},
                            {"rip", HWV_REGS_GPR, offsetof(hwv_regs, rip)},
                            {"rflags", HWV_REGS_GPR, offsetof(hwv_regs, rflags)},
                            {"cr0", HWV_REGS_CONTROL, offsetof(hwv_regs, cr0)},
                            {"cr2", HWV_REGS_CONTROL, offsetof(hwv_regs, cr2)},
                            {"cr3", HWV_REGS_CONTROL, offsetof(hwv_regs, cr3)},
                            {"cr4", HWV_REGS_CONTROL, offsetof(hwv_regs, cr4)},
                            {"cr8", HWV_REGS_CONTROL, offsetof(hwv_regs, cr8)},
                            {"efer", HWV_REGS_CONTROL, offsetof(hwv_regs, efer)},
                            {"xcr0", HWV_REGS_CONTROL, offsetof(hwv_regs, xcr0)},
                            {"apic_base", HWV_REGS_CONTROL, offsetof(hwv_regs, apic_base)},
                            {"dr0", HWV_REGS_DEBUG, dr(0)},
                            {"dr1", HWV_REGS_DEBUG, dr(1)},
                            {"dr2", HWV_REGS_DEBUG, dr(2)},
                            {"dr3", HWV_REGS_DEBUG, dr(3)},
                            {"dr6", HWV_REGS_DEBUG, offsetof(hwv_regs, dr6)},
                            {"dr7", HWV_REGS_DEBUG, offsetof(hwv_regs, dr7)}};

std::byte *place(hwv_regs &regs, const Register &which) {
    return reinterpret_cast<std::byte *>(&regs) + which.offset;
}

} // namespace

std::span<const Register> registers() { return all; }

std::uint64_t value(const hwv_regs &regs, const Register &which) {
    std::uint64_t out = 0;
    std::memcpy(&out, reinterpret_cast<const std::byte *>(&regs) + which.offset, sizeof out);
    return out;
}

std::uint32_t assign(hwv_regs &regs, const std::string &text) {
    const std::size_t sign = text.find('=');
    const std::string name = text.substr(0, sign);
    if (sign == std::string::npos)
        throw UsageError{"--set " + text + ": wants NAME=VALUE, like rip=0x1000"};
    for (const Register &r : all) {
        if (name != r.name) continue;
        const std::uint64_t number = parse_number(text.substr(sign + 1), "register's value");
        std::memcpy(place(regs, r), &number, sizeof number);
        return r.group;
    }
    throw UsageError{"there is no register '" + name + "' to set"};
}

std::string register_text(const hwv_regs &regs) {
    std::string out;
    for (std::size_t i = 0; i < std::size(all); ++i)
        out += fmt::format("{}{:<9} {:016x}",
                           !i      ? ""
                           : i % 3 ? "   "
                                   : "\n",
                           all[i].name, value(regs, all[i]));
    out += "\n";
    for (unsigned i = 0; i < HWV_SEGMENTS; ++i) {
        const hwv_segment &s = regs.segment[i];
        out += fmt::format("{:<9} {:04x} base {:016x} limit {:08x} attributes {:04x}\n",
                           segment_names[i], s.selector, s.base, s.limit, s.attributes);
    }
    out += fmt::format("gdtr      base {:016x} limit {:04x}\n", regs.gdtr.base, regs.gdtr.limit);
    return out +
           fmt::format("idtr      base {:016x} limit {:04x}\n", regs.idtr.base, regs.idtr.limit);
}

} // namespace hwvctl
