// SPDX-License-Identifier: GPL-2.0-only
// arch.hpp - kmod/vmx/arch.hpp on the fake machine: each CPU has a current VMCS, whose fields are
// in a map.
#pragma once
#include <type_traits>
#include "core/arch.hpp"
#include "fakes/vmx_hardware.hpp"
#include "host.h"
#include "vmx/msr.hpp"
#include "vmx/vmcs.hpp"

namespace hwv::vmx {

template <typename T, std::uint16_t Encoding>
T read(Field<T, Encoding>) {
    return static_cast<T>(fake::vmx().read(Encoding));
}
template <typename T, std::uint16_t Encoding>
requires(!Field<T, Encoding>::read_only) void write(Field<T, Encoding>,
                                                    std::type_identity_t<T> value) {
    fake::vmx().write(Encoding, value);
}
template <typename T, std::uint16_t Encoding>
T read_at(Field<T, Encoding>, unsigned index) {
    return static_cast<T>(fake::vmx().read(static_cast<std::uint16_t>(Encoding + 2 * index)));
}
template <typename T, std::uint16_t Encoding>
requires(!Field<T, Encoding>::read_only) void write_at(Field<T, Encoding>, unsigned index,
                                                       std::type_identity_t<T> value) {
    fake::vmx().write(static_cast<std::uint16_t>(Encoding + 2 * index), value);
}

inline bool vmxon(std::uint64_t pa) { return fake::vmx().vmxon(pa); }
inline bool vmxoff() { return fake::vmx().vmxoff(); }
inline bool vmclear(std::uint64_t pa) { return fake::vmx().vmclear(pa); }
inline bool vmptrld(std::uint64_t pa) { return fake::vmx().vmptrld(pa); }
inline std::optional<std::uint64_t> vmptrst() { return fake::vmx().vmptrst(); }

enum class InvalidateBy : std::uint64_t { context = 1, all = 2 };
inline bool invept(InvalidateBy what, std::uint64_t ept_pointer) {
    return fake::vmx().invept(what == InvalidateBy::all, ept_pointer);
}

struct TablePointer {
    std::uint16_t limit;
    std::uint64_t base;
};
inline TablePointer sgdt() {
    const fake::VmxCpu &c = fake::vmx().here();
    return {c.segments.gdt_limit, reinterpret_cast<std::uint64_t>(c.gdt)};
}
inline void lgdt(const TablePointer &p) { fake::vmx().here().segments.gdt_limit = p.limit; }
inline TablePointer sidt() { return {0xfff, fake::vmx().here().idt}; }
inline std::uint16_t str() { return fake::vmx().here().tr; }

inline std::uint16_t code_selector() { return 0x10; }
inline void read_data_selectors(hwv_host_segments &to) {
    const fake::LoadedSegments &s = fake::vmx().here().segments;
    to = {{{s.ds, s.es, s.fs, s.gs}}, hwv::arch::sldt()};
}
inline std::uint64_t read_cr0() { return fake::vmx().here().cr0; }
inline std::uint64_t read_cr2() { return fake::vmx().here().cr2; }
inline void write_cr2(std::uint64_t v) { fake::vmx().here().cr2 = v; }
inline std::uint64_t read_cr3() { return fake::vmx().here().cr3; }
inline std::uint64_t read_cr4() { return fake::vmx().here().cr4; }

} // namespace hwv::vmx
