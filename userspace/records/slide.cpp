// SPDX-License-Identifier: GPL-2.0-only
// slide.cpp - by how much KASLR moved a guest's kernel, from where it exited and why.
//
// Linux moves its text by a multiple of 2 MiB within 1 GiB (Documentation/arch/x86, "Complete
// virtual memory map": kernel text mapping), so there are at most 512 candidates. With the code at
// hand (ELF), the instruction under each exit decides; with names alone, whether the function is
// one that does such a thing: under a wrong slide hardly any is.
#include <algorithm>
#include <map>
#include "hwv.h"
#include "records/symbols.hpp"

namespace records {
namespace {

constexpr std::uint64_t lowest = 0xffffffff80000000, highest = 0xffffffffc0000000, step = 2 << 20;

struct Sign {
    unsigned reason;
    std::vector<std::vector<std::uint8_t>> instructions; // without prefixes
    std::vector<std::string_view> words;                 // one of them is in the function's name
};

const std::vector<Sign> &signs() {
    static const std::vector<Sign> all{
        {HWV_EXIT_HLT, {{0xf4}}, {"halt", "idle"}},
        {HWV_EXIT_CPUID,
         {{0x0f, 0xa2}},
         {"cpuid", "cpu_caps", "sync_core", "identify", "init_intel", "init_amd"}},
        {HWV_EXIT_MSR_READ, {{0x0f, 0x32}}, {"msr"}},
        {HWV_EXIT_MSR_WRITE, {{0x0f, 0x30}}, {"msr", "apic", "kvm", "lapic"}},
        {HWV_EXIT_IO,
         {{0xe4},
          {0xe5},
          {0xe6},
          {0xe7},
          {0xec},
          {0xed},
          {0xee},
          {0xef},
          {0x6c},
          {0x6d},
          {0x6e},
          {0x6f}},
         {"io_delay", "io_serial", "port", "outb", "inb", "8259", "pit_", "i8042", "pci_conf",
          "cmos", "early_serial", "i8253"}},
        {HWV_EXIT_HYPERCALL, {{0x0f, 0x01, 0xc1}, {0x0f, 0x01, 0xd9}}, {"hypercall", "kvm"}},
        {HWV_EXIT_WBINVD, {{0x0f, 0x09}}, {"wbinvd", "cache", "mtrr"}},
        {HWV_EXIT_XSETBV, {{0x0f, 0x01, 0xd1}}, {"xfeature", "xstate", "fpu"}},
    };
    return all;
}

const Sign *sign_of(unsigned reason) {
    for (const Sign &s : signs())
        if (s.reason == reason) return &s;
    return nullptr;
}

bool starts(std::span<const std::uint8_t> bytes, const std::vector<std::uint8_t> &instruction) {
    return bytes.size() >= instruction.size() &&
           std::equal(instruction.begin(), instruction.end(), bytes.begin());
}

} // namespace

bool Symbols::plausible(unsigned reason, std::uint64_t address) const {
    const Sign *sign = sign_of(reason);
    for (const Code &code : code_) {
        if (address < code.address || address - code.address >= code.bytes.size()) continue;
        std::span<const std::uint8_t> bytes{code.bytes};
        bytes = bytes.subspan(address - code.address);
        if (bytes[0] == 0x66 || bytes[0] == 0xf3) bytes = bytes.subspan(1); // operand size, REP
        return std::any_of(sign->instructions.begin(), sign->instructions.end(),
                           [&](const auto &i) { return starts(bytes, i); });
    }
    if (!code_.empty()) return false;
    const auto hit = find_unmoved(address);
    return hit && std::any_of(sign->words.begin(), sign->words.end(), [&](std::string_view word) {
               return hit->name.find(word) != std::string_view::npos;
           });
}

std::optional<Symbols::Guess> Symbols::guess_slide(std::span<const ExitSite> sites) const {
    const auto first = std::lower_bound(
        symbols_.begin(), symbols_.end(), lowest,
        [](const Symbol &s, std::uint64_t address) { return s.address < address; });
    if (first == symbols_.end() || first->address >= highest) return std::nullopt;
    std::vector<ExitSite> asked;
    for (const ExitSite &s : sites)
        if (s.rip >= lowest && s.rip < highest && sign_of(s.reason)) asked.push_back(s);
    Guess best{0, 0, static_cast<unsigned>(asked.size())};
    unsigned second = 0;
    const std::uint64_t room = (first->address - lowest) / step;
    for (std::uint64_t k = 0; k < (highest - lowest) / step; ++k) {
        const std::uint64_t slide = (k - room) * step; // modulo 2^64 where the table is a moved one
        const auto agree =
            static_cast<unsigned>(std::count_if(asked.begin(), asked.end(), [&](const ExitSite &s) {
                return plausible(s.reason, s.rip - slide);
            }));
        if (agree > best.agree) {
            second = best.agree;
            best = {slide, agree, best.asked};
        } else {
            second = std::max(second, agree);
        }
    }
    if (best.agree < 3 || best.agree < 2 * second) return std::nullopt;
    return best;
}

} // namespace records
