// SPDX-License-Identifier: GPL-2.0-only
// defaults.hpp - what hwv offers to guests on this host, worked out once at module load.
#pragma once
#include "core/result.hpp"
#include "cpu/cpuid.hpp"
#include "cpu/msr.hpp"

namespace hwv::defaults {

Status init(); // process context
void exit();
Status cpuid(hwv_cpuid_entry *out, std::uint32_t &count); // HWV_GET_CPUID
Status give_cpuid(cpu::CpuidTable &table, std::uint32_t apic_id);
cpu::MsrFacts msr_facts();
std::uint64_t cr4(); // bits that a guest may set, whatever its own CPUID says

} // namespace hwv::defaults
