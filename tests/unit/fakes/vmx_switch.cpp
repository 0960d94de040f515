// SPDX-License-Identifier: GPL-2.0-only
// vmx_switch.cpp - VM entry and VM exit in place of kmod/vmx/enter.S and interrupts.S, with the
// rules that real CPUs rely on and emulators do not check. Intel SDM vol. 3, "VM Entries", "VM
// Exits". Whether the VMCS is a valid one, the checker judges.
#include "fakes/host.hpp"
#include "fakes/vmx_apic.hpp"
#include "fakes/vmx_hardware.hpp"
#include "vmx/entry_state.hpp"
#include "vmx/exit_code.hpp"
#include "vmx/msr.hpp"

using namespace hwv;
using namespace hwv::vmx;

extern "C" {
extern const char hwv_vmx_exit[];
const char hwv_vmx_exit[] = "where VM exits arrive";
int hwv_vmx_switch(std::uint64_t *gprs, bool launched, std::uint32_t spec_ctrl,
                   std::uint64_t *host_rsp);
void hwv_vmx_nmi();
}

namespace {

enum Result { ran, vmfail, fault };
constexpr std::uint64_t host_stack = 0xffff'c900'0012'3f00;

void violation(std::string what) { fake::hardware().violation(std::move(what)); }
std::uint64_t &msr_here(std::uint32_t index) { return fake::hardware().here().msrs[index]; }

// ---- "Software Use of Virtual-Machine Control Structures": what was never written is anything
// ----

struct Range {
    std::uint16_t first, last;
};
constexpr Range used[] = {
    {0x0800, 0x080e}, {0x0c00, 0x0c0c}, // selectors
    {0x2004, 0x2004}, {0x2010, 0x2012}, {0x201a, 0x201a}, {0x2800, 0x2806}, {0x2c00, 0x2c02},
    {0x4000, 0x4016}, {0x401c, 0x401e}, {0x4800, 0x4826}, {0x482a, 0x482a}, {0x4c00, 0x4c00},
    {0x6000, 0x6006}, {0x6800, 0x6826}, {0x6c00, 0x6c16},
};

void must_be_written(const fake::FakeVmcs &v, Range range) {
    for (unsigned field = range.first; field <= range.last; field += 2)
        if (!v.fields.contains(static_cast<std::uint16_t>(field)))
            violation("VM entry with a field that was never written: " + std::to_string(field));
}

void check_written(const fake::FakeVmcs &v, const EntryState &s) {
    for (const Range &range : used)
        must_be_written(v, range);
    const auto one = [&](auto field) { must_be_written(v, {field.encoding, field.encoding}); };
    if (s.controls.secondary & secondary::enable_vpid) one(field::vpid);
    if (s.controls.pin & pin::preemption_timer) one(field::preemption_timer);
    if (s.controls.secondary & secondary::virtual_interrupt_delivery) {
        one(field::guest_interrupt_status);
        must_be_written(v, {field::eoi_exit_0.encoding, field::eoi_exit_3.encoding});
    }
    if (s.controls.pin & pin::posted_interrupts)
        one(field::posted_vector), one(field::posted_descriptor);
    if (s.controls.entry & entry_control::load_perf_global_ctrl) one(field::guest_perf_global_ctrl);
    if (s.controls.exit & exit_control::load_perf_global_ctrl) one(field::host_perf_global_ctrl);
    if (s.controls.entry_interruption & event::has_error_code) one(field::entry_error_code);
    if ((s.guest.cr0 & cr0::pg) && (s.guest.cr4 & cr4::pae) && !(s.guest.efer & efer::lma))
        must_be_written(v, {field::guest_pdpte_0.encoding, field::guest_pdpte_3.encoding});
}

// ---- what an exit will load has to be what is there now ----

void check_host_state(fake::FakeVmcs &v, const HostState &h) {
    const fake::VmxCpu &c = fake::vmx().here();
    const auto same = [](const char *what, std::uint64_t field, std::uint64_t now) {
        if (field != now) violation(std::string("the host's state in the VMCS is stale: ") + what);
    };
    same("CR0", h.cr0, c.cr0);
    same("CR3", h.cr3, c.cr3);
    same("CR4", h.cr4, c.cr4);
    same("EFER", h.efer, msr_here(msr::efer));
    same("PAT", h.pat, msr_here(msr::pat));
    same("FS base", h.fs_base, msr_here(msr::fs_base));
    same("GS base", h.gs_base, msr_here(msr::gs_base));
    same("SYSENTER_CS", v[field::host_sysenter_cs], msr_here(msr::sysenter_cs));
    same("SYSENTER_ESP", h.sysenter_esp, msr_here(msr::sysenter_esp));
    same("SYSENTER_EIP", h.sysenter_eip, msr_here(msr::sysenter_eip));
    same("CS", h.cs, 0x10);
    same("SS", h.ss, 0x18);
    same("TR", h.tr, c.tr);
    same("TR base", h.tr_base, c.tr_base);
    same("GDTR", h.gdtr_base, reinterpret_cast<std::uint64_t>(c.gdt));
    same("IDTR", h.idtr_base, c.idt);
    same("RSP", v[field::host_rsp], host_stack);
    same("RIP", h.rip, reinterpret_cast<std::uint64_t>(hwv_vmx_exit));
    if (fake::vmx().current()[field::exit_controls] & exit_control::load_perf_global_ctrl)
        same("PERF_GLOBAL_CTRL", h.perf_global_ctrl, msr_here(msr::perf_global_ctrl));
}

void check_counters(const Controls &c) {
    if (!fake::hardware().here().msrs.contains(msr::perf_global_ctrl)) return;
    if (!(c.entry & entry_control::load_perf_global_ctrl)) return;
    if (msr_here(msr::perf_global_ctrl) && msr_here(msr::pebs_enable))
        violation("PEBS records would go to the guest's memory");
}

// ---- "Loading Guest State", "Loading Host State" ----

void load_guest(fake::FakeVmcs &v, const EntryState &s) {
    fake::HardwareCpu &cpu = fake::hardware().here();
    if (cpu.dr[7] & 0xff) violation("a breakpoint of the host's is on in the world switch");
    cpu.dr[7] = v[field::guest_dr7];
    msr_here(msr::debugctl) = v[field::guest_debugctl];
    if (s.controls.entry & entry_control::load_perf_global_ctrl)
        msr_here(msr::perf_global_ctrl) = v[field::guest_perf_global_ctrl];
}

// Delivery ends shadows, and that of an NMI blocks the next.
void deliver(fake::FakeVmcs &v, std::uint32_t info) {
    fake::vmx().delivered = info & event::valid ? info : 0;
    if (!fake::vmx().delivered) return;
    std::uint64_t &blocking = v[field::guest_interruptibility];
    blocking &= ~std::uint64_t{interruptibility::sti | interruptibility::mov_ss};
    if ((info & event::type) >> event::type_shift == event::nmi) blocking |= interruptibility::nmi;
}

void load_host(fake::FakeVmcs &v, const HostState &h) {
    fake::VmxCpu &c = fake::vmx().here();
    fake::HardwareCpu &cpu = fake::hardware().here();
    c.cr0 = h.cr0;
    c.cr3 = h.cr3;
    c.cr4 = h.cr4;
    msr_here(msr::efer) = h.efer;
    msr_here(msr::pat) = h.pat;
    msr_here(msr::fs_base) = h.fs_base;
    msr_here(msr::gs_base) = h.gs_base;
    msr_here(msr::sysenter_cs) = v[field::host_sysenter_cs];
    msr_here(msr::sysenter_esp) = h.sysenter_esp;
    msr_here(msr::sysenter_eip) = h.sysenter_eip;
    msr_here(msr::debugctl) = 0;
    if (v[field::exit_controls] & exit_control::load_perf_global_ctrl)
        msr_here(msr::perf_global_ctrl) = h.perf_global_ctrl;
    cpu.dr[7] = 0x400;
    cpu.ldt = 0;
    c.segments = {h.ds, h.es, h.fs, h.gs, 0xffff, 0x67};
}

// ---- an entry ----

int fail(fake::FakeVmcs &v, std::uint32_t error) {
    v[field::instruction_error] = error;
    return vmfail;
}

void exit_with(fake::FakeVmcs &v, std::uint32_t reason) {
    v[field::exit_reason] = reason;
    v[field::qualification] = v[field::exit_instruction_length] = v[field::vectoring] = 0;
    v[field::exit_interruption] = v[field::guest_physical] = 0;
}

// "Acknowledge interrupt on exit": of a reschedule, say.
void acknowledge(fake::FakeVmcs &v) {
    constexpr std::uint32_t reschedule = 0xfd;
    const bool takes = v[field::exit_controls] & exit_control::acknowledge_interrupt_on_exit;
    if (!takes || v[field::exit_reason] != number(ExitCode::external_interrupt)) return;
    v[field::exit_interruption] = event::valid | reschedule;
    fake::vmx().acknowledged.push_back(reschedule);
}

void run(fake::FakeVmcs &v, const EntryState &s, std::uint64_t *gprs) {
    load_guest(v, s);
    const bool vpid = s.controls.secondary & secondary::enable_vpid;
    fake::vmx().run_tagged(vpid ? s.controls.vpid : 0, s.controls.ept_pointer);
    fake::VirtualApic{v}.enter(s.controls.entry_interruption & event::valid);
    deliver(v, s.controls.entry_interruption);
    v[field::entry_interruption] &= ~std::uint64_t{event::valid};
    exit_with(v, number(ExitCode::external_interrupt));
    const bool out_of_time =
        (s.controls.pin & pin::preemption_timer) && !v[field::preemption_timer];
    if (out_of_time)
        exit_with(v, number(ExitCode::preemption_timer));
    else if (fake::vmx().guest)
        fake::vmx().guest(gprs, v);
    acknowledge(v);
    v.launched = true;
    load_host(v, s.host);
}

int enter(fake::FakeVmcs &v, bool launched, std::uint64_t *gprs) {
    if (launched != v.launched) {
        violation(launched ? "VMRESUME of a VMCS that is clear" : "VMLAUNCH of a launched VMCS");
        return fail(v, launched ? 5 : 4);
    }
    const auto read = [&](auto f, unsigned index) {
        const auto found = v.fields.find(static_cast<std::uint16_t>(f.encoding + 2 * index));
        using T = typename decltype(f)::type;
        return static_cast<T>(found == v.fields.end() ? 0 : found->second);
    };
    const auto *apic = reinterpret_cast<const std::uint8_t *>(v[field::virtual_apic]);
    const EntryState s = read_entry_state(read, apic[0x80]);
    check_written(v, s);
    const CheckerFacts &facts = fake::vmx().facts;
    if (fake::vmx().instruction_error) return fail(v, fake::vmx().instruction_error);
    if (check_controls(s.controls, facts) != Rule::none) return fail(v, 7);
    if (check_host(s.host, s.controls, facts) != Rule::none) return fail(v, 8);
    const Rule rule = check_guest(s.guest, s.controls, facts);
    const bool event = rule >= Rule::entry_reserved && rule < Rule::host_cr0;
    if (event) return fail(v, 7); // it is one of the controls
    check_host_state(v, s.host);
    check_counters(s.controls);
    if (rule != Rule::none) {
        exit_with(v, exit_reason::entry_failure | number(ExitCode::invalid_guest_state));
        load_host(v, s.host);
        return ran;
    }
    run(v, s, gprs);
    return ran;
}

} // namespace

int hwv_vmx_switch(std::uint64_t *gprs, bool launched, std::uint32_t spec_ctrl,
                   std::uint64_t *host_rsp) {
    fake::VmxCpu &cpu = fake::vmx().here();
    if (!fake::host().irqs_off) violation("VM entry with irqs on");
    if (fake::host().guest_depth != 1) violation("VM entry while RCU watches");
    fake::hardware().spec_ctrl = spec_ctrl;
    if (!cpu.on || fake::vmx().refuse_entry) return fault;
    if (cpu.current == ~0ull) return vmfail;
    fake::FakeVmcs &v = fake::vmx().current();
    if (*host_rsp != host_stack) v[field::host_rsp] = *host_rsp = host_stack;
    return enter(v, launched, gprs);
}

void hwv_vmx_nmi() {
    if (fake::host().guest_depth != 1 || !fake::host().irqs_off)
        violation("the NMI was served too late");
    ++fake::host().nmis;
}
