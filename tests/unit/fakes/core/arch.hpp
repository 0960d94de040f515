// SPDX-License-Identifier: GPL-2.0-only
// arch.hpp - kmod/core/arch.hpp on a machine that the test owns.
#pragma once
#include <cstdint>
#include <optional>
#include "hardware.hpp"
#include "host.hpp"

#define HWV_NOINSTR

struct hwv_static_key;
extern "C" hwv_static_key hwv_statistics_off;

namespace hwv::arch {

using fake::CpuidLeaf;

inline CpuidLeaf cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
    return fake::hardware().cpuid(leaf, subleaf);
}
inline std::uint64_t rdtsc() { return fake::hardware().tsc += 100; }
inline std::uint64_t rdmsr(std::uint32_t index) { return fake::hardware().rdmsr(index); }
inline void wrmsr(std::uint32_t index, std::uint64_t value) {
    fake::hardware().wrmsr(index, value);
}
inline std::optional<std::uint64_t> rdmsr_safe(std::uint32_t index) {
    return fake::hardware().rdmsr_safe(index);
}
inline bool wrmsr_safe(std::uint32_t index, std::uint64_t value) {
    return fake::hardware().wrmsr_safe(index, value);
}
inline void xsetbv(std::uint32_t index, std::uint64_t value) {
    fake::hardware().xsetbv(index, value);
}
template <typename T>
T &forgotten(T &object) {
    return object;
}
inline bool static_branch(const char *key) {
    const bool statistics_off = key == reinterpret_cast<const char *>(&hwv_statistics_off);
    return statistics_off ? !fake::host().facts.statistics : fake::hardware().tracing;
}
inline void load_fence() {}
inline std::uint32_t sldt() { return fake::hardware().here().ldt; }

template <unsigned N>
std::uint64_t read_dr() {
    return fake::hardware().here().dr[N];
}
template <unsigned N>
void write_dr(std::uint64_t value) {
    fake::hardware().write_dr(N, value);
}

inline void irq_disable() { hwv_host_irq_disable(); }

} // namespace hwv::arch
