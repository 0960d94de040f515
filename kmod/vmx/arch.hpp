// SPDX-License-Identifier: GPL-2.0-only
// arch.hpp - Intel's instructions, as they are: Intel SDM "VMX Instruction Reference",
// "Conventions" (VMfail sets CF or ZF). Each has an exception-table entry, because another owner
// may switch VMX off under a riding hwv. Unit tests: tests/unit/fakes/vmx/arch.hpp.
#pragma once
#include <type_traits>
#include "core/arch.hpp"
#include "host.h"
#include "vmx/msr.hpp"
#include "vmx/vmcs.hpp"

namespace hwv::vmx {

// ---- the current VMCS. Preemption off ----

// 0 where there is no current VMCS: the entry that follows fails and says so.
template <typename T, std::uint16_t Encoding>
[[gnu::always_inline]] inline T read(Field<T, Encoding>) {
    std::uint64_t value;
    asm goto("1: vmread %1, %0\n\tjbe %l[fault]\n" HWV_EXTABLE_1B_FAULT
             : "=r"(value)
             : "r"(std::uint64_t{Encoding})
             : "cc"
             : fault);
    return static_cast<T>(value);
fault:
    return 0;
}

template <typename T, std::uint16_t Encoding>
requires(!Field<T, Encoding>::read_only)
    [[gnu::always_inline]] inline void write(Field<T, Encoding>, std::type_identity_t<T> value) {
    asm goto("1: vmwrite %0, %1\n" HWV_EXTABLE_1B_FAULT
             :
             : "r"(static_cast<std::uint64_t>(value)), "r"(std::uint64_t{Encoding})
             : "cc", "memory"
             : fault);
fault:
    return;
}

// One of a row of fields that follow each other: segment registers, in the order of
// hwv_segment_index.
template <typename T, std::uint16_t Encoding>
inline T read_at(Field<T, Encoding>, unsigned index) {
    std::uint64_t value;
    asm goto("1: vmread %1, %0\n\tjbe %l[fault]\n" HWV_EXTABLE_1B_FAULT
             : "=r"(value)
             : "r"(std::uint64_t{Encoding} + 2 * index)
             : "cc"
             : fault);
    return static_cast<T>(value);
fault:
    return 0;
}

template <typename T, std::uint16_t Encoding>
requires(!Field<T, Encoding>::read_only) inline void write_at(Field<T, Encoding>, unsigned index,
                                                              std::type_identity_t<T> value) {
    asm goto("1: vmwrite %0, %1\n" HWV_EXTABLE_1B_FAULT
             :
             : "r"(static_cast<std::uint64_t>(value)), "r"(std::uint64_t{Encoding} + 2 * index)
             : "cc", "memory"
             : fault);
fault:
    return;
}

// ---- VMCSs; `pa` is physical. False: it failed, or VMX is off ----

#define HWV_VMX_ON_MEMORY(instruction, operand)                                                    \
    asm goto("1: " instruction " %0\n\tjbe %l[fault]\n" HWV_EXTABLE_1B_FAULT                       \
             :                                                                                     \
             : "m"(operand)                                                                        \
             : "cc", "memory"                                                                      \
             : fault);                                                                             \
    return true;                                                                                   \
    fault:                                                                                         \
    return false

[[gnu::always_inline]] inline bool vmxon(std::uint64_t pa) { HWV_VMX_ON_MEMORY("vmxon", pa); }
[[gnu::always_inline]] inline bool vmclear(std::uint64_t pa) { HWV_VMX_ON_MEMORY("vmclear", pa); }
[[gnu::always_inline]] inline bool vmptrld(std::uint64_t pa) { HWV_VMX_ON_MEMORY("vmptrld", pa); }

#undef HWV_VMX_ON_MEMORY

inline bool vmxoff() {
    asm goto("1: vmxoff\n\tjbe %l[fault]\n" HWV_EXTABLE_1B_FAULT : : : "cc", "memory" : fault);
    return true;
fault:
    return false;
}

// The current VMCS, ~0: none. nullopt: VMX is off.
inline std::optional<std::uint64_t> vmptrst() {
    std::uint64_t pa = 0;
    asm goto("1: vmptrst (%0)\n" HWV_EXTABLE_1B_FAULT : : "r"(&pa) : "cc", "memory" : fault);
    return pa;
fault:
    return std::nullopt;
}

// ---- translations: Intel SDM "Operations that Invalidate Cached Mappings" ----

enum class InvalidateBy : std::uint64_t { context = 1, all = 2 };

inline bool invept(InvalidateBy what, std::uint64_t ept_pointer) {
    struct {
        std::uint64_t ept_pointer, reserved;
    } const descriptor{ept_pointer, 0};
    asm goto("1: invept %0, %1\n\tjbe %l[fault]\n" HWV_EXTABLE_1B_FAULT
             :
             : "m"(descriptor), "r"(static_cast<std::uint64_t>(what))
             : "cc", "memory"
             : fault);
    return true;
fault:
    return false;
}

// ---- what VM exits load into the host, to be told to the VMCS ----

struct [[gnu::packed]] TablePointer {
    std::uint16_t limit;
    std::uint64_t base;
};

inline TablePointer sgdt() {
    TablePointer p;
    asm volatile("sgdt %0" : "=m"(p));
    return p;
}
inline void lgdt(const TablePointer &p) { asm volatile("lgdt %0" : : "m"(p)); }
inline TablePointer sidt() {
    TablePointer p;
    asm volatile("sidt %0" : "=m"(p));
    return p;
}
inline std::uint16_t str() {
    std::uint16_t selector;
    asm volatile("str %0" : "=r"(selector));
    return selector;
}

[[gnu::always_inline]] inline std::uint16_t code_selector() {
    std::uint16_t selector;
    asm volatile("mov %%cs, %0" : "=r"(selector));
    return selector;
}
[[gnu::always_inline]] inline void read_data_selectors(hwv_host_segments &s) {
    asm volatile("mov %%ds, %0" : "=m"(s.ds));
    asm volatile("mov %%es, %0" : "=m"(s.es));
    asm volatile("mov %%fs, %0" : "=m"(s.fs));
    asm volatile("mov %%gs, %0" : "=m"(s.gs));
    s.ldt = hwv::arch::sldt();
}

[[gnu::always_inline]] inline std::uint64_t read_cr0() {
    std::uint64_t v;
    asm volatile("mov %%cr0, %0" : "=r"(v));
    return v;
}
[[gnu::always_inline]] inline std::uint64_t read_cr2() {
    std::uint64_t v;
    asm volatile("mov %%cr2, %0" : "=r"(v));
    return v;
}
[[gnu::always_inline]] inline void write_cr2(std::uint64_t v) {
    asm volatile("mov %0, %%cr2" : : "r"(v) : "memory");
}
[[gnu::always_inline]] inline std::uint64_t read_cr3() {
    std::uint64_t v;
    asm volatile("mov %%cr3, %0" : "=r"(v));
    return v;
}
[[gnu::always_inline]] inline std::uint64_t read_cr4() {
    std::uint64_t v;
    asm volatile("mov %%cr4, %0" : "=r"(v));
    return v;
}

} // namespace hwv::vmx
