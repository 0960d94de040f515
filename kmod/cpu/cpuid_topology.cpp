// SPDX-License-Identifier: GPL-2.0-only
// cpuid_topology.cpp - where a vCPU sits: one package of N cores of one thread, ids 0..N-1.
#include <bit>
#include "cpu/cpuid.hpp"

namespace hwv::cpu {
namespace {

constexpr std::uint32_t htt = 1u << 28, cmp_legacy = 1u << 1;

struct Place {
    std::uint32_t cores;
    std::uint32_t id_bits; // of an APIC id that tell the cores of the package apart
    bool cmp_legacy;       // the make that says "logical processors are cores" this way
};

constexpr std::uint32_t replace(std::uint32_t value, unsigned low, unsigned width,
                                std::uint32_t field) {
    const std::uint32_t mask = ((1u << width) - 1) << low;
    return (value & ~mask) | (field << low & mask);
}
static_assert(replace(0xffff'ffff, 14, 12, 0) == 0xfc00'3fff);

// Caches of level 3 belong to the package, the others to a core.
constexpr std::uint32_t sharers(std::uint32_t cache_eax, std::uint32_t package) {
    return (cache_eax >> 5 & 7) >= 3 ? package : 0;
}

void rewrite(hwv_cpuid_entry &e, const Place &place) {
    const std::uint32_t span = (1u << place.id_bits) - 1; // of ids
    switch (e.leaf) {
    case 0x1: e.edx = place.cores > 1 ? e.edx | htt : e.edx & ~htt; break;
    case 0x4: e.eax = replace(replace(e.eax, 14, 12, sharers(e.eax, span)), 26, 6, span); break;
    case 0xb:
    case 0x1f:
        if (e.subleaf == 0) e.eax = 0, e.ebx = 1, e.ecx = 1 << 8;
        if (e.subleaf == 1) e.eax = place.id_bits, e.ebx = place.cores, e.ecx = 2 << 8 | 1;
        if (e.subleaf > 1) e.eax = e.ebx = 0, e.ecx = e.subleaf & 0xff;
        break;
    case 0x8000'0001:
        if (place.cmp_legacy) e.ecx = place.cores > 1 ? e.ecx | cmp_legacy : e.ecx & ~cmp_legacy;
        break;
    case 0x8000'0008:
        if (place.cmp_legacy) e.ecx = place.id_bits << 12 | (place.cores - 1);
        break;
    case 0x8000'001d: e.eax = replace(e.eax, 14, 12, sharers(e.eax, place.cores - 1)); break;
    default: break;
    }
}

void identify(hwv_cpuid_entry &e, std::uint32_t apic_id) {
    switch (e.leaf) {
    case 0x1: e.ebx = replace(e.ebx, 24, 8, apic_id); break;
    case 0xb:
    case 0x1f: e.edx = apic_id; break;
    case 0x8000'001e:
        e.eax = apic_id;
        e.ebx = apic_id & 0xff; // core id; one thread a core
        e.ecx = 0;              // one node
        break;
    default: break;
    }
}

constexpr bool amd_like(const hwv_cpuid_entry &e) {
    const bool amd =
        e.ebx == 0x6874'7541 && e.edx == 0x6974'6e65 && e.ecx == 0x444d'4163; // "AuthenticAMD"
    const bool hygon =
        e.ebx == 0x6f67'7948 && e.edx == 0x6e65'476e && e.ecx == 0x656e'6975; // "HygonGenuine"
    return amd || hygon;
}

} // namespace

void place_vcpu(hwv_cpuid_entry *entries, std::uint32_t count, std::uint32_t apic_id) {
    Place place{};
    for (std::uint32_t i = 0; i < count; ++i) {
        if (entries[i].leaf == 0x0) place.cmp_legacy = amd_like(entries[i]);
        if (entries[i].leaf == 0x1) place.cores = entries[i].ebx >> 16 & 0xff;
    }
    place.id_bits =
        place.cores > 1 ? static_cast<std::uint32_t>(std::bit_width(place.cores - 1)) : 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (place.cores) rewrite(entries[i], place);
        identify(entries[i], apic_id);
    }
}

} // namespace hwv::cpu
