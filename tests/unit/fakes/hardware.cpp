// SPDX-License-Identifier: GPL-2.0-only
#include "hardware.hpp"
#include <algorithm>

namespace hwv::fake {

Hardware &hardware() {
    static Hardware machine;
    return machine;
}

void Hardware::reset() {
    *this = Hardware{};
    cpus.resize(4);
}

// A leaf beyond the maximum answers with the last basic leaf's data, as CPUs do.
CpuidLeaf Hardware::cpuid(std::uint32_t leaf, std::uint32_t) {
    const std::uint32_t base = leaf & 0x8000'0000;
    if (leaf > leaves[base].eax) return {0xdead, 0xdead, 0xdead, 0xffff'ffff};
    return leaves[leaf];
}

std::optional<std::uint64_t> Hardware::rdmsr_safe(std::uint32_t index) {
    const auto found = here().msrs.find(index);
    if (found == here().msrs.end()) return std::nullopt;
    return found->second;
}

bool Hardware::wrmsr_safe(std::uint32_t index, std::uint64_t value) {
    constexpr std::uint32_t pred_cmd = 0x49;
    if (!here().msrs.contains(index)) return false;
    here().msrs[index] = value;
    if (index == pred_cmd && (value & 1)) here().trained.clear();
    msr_writes.emplace_back(index, value);
    return true;
}

std::uint64_t Hardware::rdmsr(std::uint32_t index) {
    const auto value = rdmsr_safe(index);
    if (!value) violation("RDMSR of an absent MSR");
    return value.value_or(0);
}

void Hardware::wrmsr(std::uint32_t index, std::uint64_t value) {
    if (!wrmsr_safe(index, value)) violation("WRMSR of an absent MSR");
}

void Hardware::xsetbv(std::uint32_t index, std::uint64_t value) {
    if (index) violation("XSETBV of another register than XCR0");
    here().xcr0 = value;
    xcr0_writes.push_back(value);
}

// With a breakpoint on, an address that changes may hit in the host.
void Hardware::write_dr(unsigned n, std::uint64_t value) {
    if (n < 4 && (here().dr[7] & 0xff) && here().dr[n] != value)
        violation("breakpoint address moved while enabled");
    here().dr[n] = value;
}

bool Hardware::vmsave(std::uint64_t pa) {
    constexpr std::uint32_t efer = 0xc000'0080;
    if (!(here().msrs[efer] & 1u << 12)) return false;
    vmsaves.push_back(pa);
    return true;
}

void Hardware::run_tagged(std::uint64_t guest, std::uint32_t asid) {
    if (!asid) violation("ASID 0");
    auto &owners = here().tlb[asid];
    owners.insert(guest);
    if (owners.size() > 1) violation("another guest's translations under this ASID");
    learn(guest);
}

void Hardware::learn(std::uint64_t guest) {
    here().trained.insert(guest);
    if (watch_predictor && here().trained.size() > 1)
        violation("another guest's branch predictions");
}

unsigned Hardware::writes_of(std::uint32_t msr) const {
    return std::count_if(msr_writes.begin(), msr_writes.end(),
                         [msr](const auto &w) { return w.first == msr; });
}

} // namespace hwv::fake
