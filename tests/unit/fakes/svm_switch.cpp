// SPDX-License-Identifier: GPL-2.0-only
// svm_switch.cpp - VMRUN in place of kmod/svm/enter.S, with the rules that real CPUs rely on and
// emulators do not check: AMD APM vol. 2, "TLB Control", "VMCB Clean Bits".
#include <cstring>
#include "hardware.hpp"
#include "svm/vmcb.hpp"

using namespace hwv;
using namespace hwv::svm;

namespace {

struct Group {
    std::uint32_t bit;
    std::size_t offset, bytes;
};
#define SAVE(field) 0x400 + offsetof(SaveArea, field)
constexpr Group groups[] = {
    {clean::intercepts, 0, 0x18},
    {clean::intercepts, offsetof(ControlArea, pause_threshold), 4},
    {clean::intercepts, offsetof(ControlArea, tsc_offset), 8},
    {clean::maps, offsetof(ControlArea, io_map), 16},
    {clean::asid, offsetof(ControlArea, asid), 4},
    {clean::int_ctl, offsetof(ControlArea, int_ctl), 8},
    {clean::np, offsetof(ControlArea, nested_cr3), 8},
    {clean::np, SAVE(g_pat), 8},
    {clean::cr, SAVE(efer), 8},
    {clean::cr, SAVE(cr4), 24},
    {clean::dr, SAVE(dr7), 16},
    {clean::dt, SAVE(gdtr), 16},
    {clean::dt, SAVE(idtr), 16},
    {clean::segments, SAVE(es), 64},
    {clean::segments, SAVE(cpl), 1},
    {clean::cr2, SAVE(cr2), 8},
};

void check_clean_bits(fake::HardwareCpu &cpu, std::uint64_t pa, const Vmcb &vmcb) {
    const auto remembered = cpu.vmcbs.find(pa);
    for (const Group &g : groups) {
        if (!(vmcb.control.clean & g.bit)) continue;
        if (remembered == cpu.vmcbs.end())
            fake::hardware().violation("clean bit for a VMCB that this CPU never ran");
        else if (std::memcmp(remembered->second.data() + g.offset,
                             reinterpret_cast<const char *>(&vmcb) + g.offset, g.bytes))
            fake::hardware().violation("clean bit over a changed field, group " +
                                       std::to_string(g.bit));
    }
}

void flush_tlb(fake::HardwareCpu &cpu, const ControlArea &c) {
    if (c.tlb_control == TlbControl::flush_all) cpu.tlb.clear();
    if (c.tlb_control == TlbControl::flush_asid) cpu.tlb.erase(c.asid);
}

// A guest without memory: nested page tables whose root is a page of zeros. Tests that care for
// no memory leave the root 0.
bool has_no_memory(const ControlArea &c) {
    constexpr std::uint64_t page = 4096;
    const std::uint64_t root = c.nested_cr3 & fake::hardware().address_mask;
    if (root < page * 16) return false;
    const auto *words = reinterpret_cast<const std::uint64_t *>(root);
    for (std::uint64_t i = 0; i < page / 8; i++)
        if (words[i]) return false;
    return true;
}

} // namespace

extern "C" bool hwv_svm_switch(std::uint64_t *gprs, std::uint64_t pa, std::uint64_t host_state,
                               std::uint32_t spec_ctrl);
extern "C" bool hwv_svm_switch(std::uint64_t *gprs, std::uint64_t pa, std::uint64_t host_state,
                               std::uint32_t spec_ctrl) {
    fake::Hardware &machine = fake::hardware();
    fake::HardwareCpu &cpu = machine.here();
    if (machine.refuse_entry) return true;
    if (machine.vmsaves.empty() || machine.vmsaves.back() != host_state)
        machine.violation("VMLOAD of a host page that was not stored");
    Vmcb &vmcb = *reinterpret_cast<Vmcb *>(pa & machine.address_mask);
    machine.spec_ctrl = spec_ctrl;
    check_clean_bits(cpu, pa, vmcb);
    flush_tlb(cpu, vmcb.control);
    vmcb.control.exit_int_info = 0;
    vmcb.control.next_rip = 0;
    vmcb.control.exit_code = number(ExitCode::intr);
    if (has_no_memory(vmcb.control)) { // it cannot fetch, and leaves nothing behind
        vmcb.control.exit_code = number(ExitCode::npf);
        if (machine.idle_guest) machine.idle_guest(&vmcb);
    } else {
        machine.run_tagged(pa, vmcb.control.asid);
        if (machine.guest) machine.guest(gprs, &vmcb);
    }
    cpu.dr[6] = vmcb.save.dr6;
    cpu.dr[7] = 0x400;
    const auto *bytes = reinterpret_cast<const std::uint8_t *>(&vmcb);
    cpu.vmcbs[pa] = {bytes, bytes + sizeof(Vmcb)};
    return false;
}
