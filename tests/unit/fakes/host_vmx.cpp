// SPDX-License-Identifier: GPL-2.0-only
// host.h, what only VMX asks of Linux, and calls to other CPUs.
#include <cerrno>
#include "core/guest_state.hpp"
#include "hardware.hpp"
#include "host.hpp"
#include "vmx/msr.hpp"
#include "vmx_hardware.hpp"

using hwv::fake::hardware;
using hwv::fake::host;
using hwv::fake::vmx;

extern "C" {

void hwv_host_call(__u32 cpu, void (*function)(void *), void *argument) {
    if (host().irqs_off) hardware().violation("another CPU called with irqs off");
    ++host().calls;
    if (cpu < host().offline.size() && host().offline[cpu]) return;
    const __u32 here = hardware().cpu;
    hardware().cpu = cpu;
    host().irqs_off = true;
    function(argument);
    host().irqs_off = false;
    hardware().cpu = here;
}

void hwv_host_irq_disable(void) { host().irqs_off = true; }
__u64 hwv_host_irq_save(void) {
    const bool before = host().irqs_off;
    host().irqs_off = true;
    return before;
}
void hwv_host_irq_restore(__u64 flags) { host().irqs_off = flags; }

int hwv_host_vmxe(int on) {
    ++host().vmxe_calls;
    if (host().vmxe_error) return host().vmxe_error;
    if (!on && vmx().here().on) hardware().violation("CR4.VMXE cleared in VMX operation: #GP");
    vmx().here().cr4 = on ? vmx().here().cr4 | hwv::cr4::vmxe : vmx().here().cr4 & ~hwv::cr4::vmxe;
    return 0;
}

// Loading GS, even between two SWAPGS, changes the user's base.
void hwv_host_segments_restore(const struct hwv_host_segments *s) {
    if (!host().irqs_off) hardware().violation("host segments restored with irqs on");
    if (s->gs)
        hardware().here().msrs[hwv::vmx::msr::kernel_gs_base] = vmx().here().gs_descriptor_base;
    const std::uint16_t gdt_limit = vmx().here().segments.gdt_limit;
    vmx().here().segments = {
        .ds = s->ds, .es = s->es, .fs = s->fs, .gs = s->gs, .gdt_limit = gdt_limit};
    hardware().here().ldt = s->ldt;
}

int hwv_host_l1d_flush(int brought) {
    const bool stale = host().l1d_stale || brought;
    host().l1d_stale = false;
    return stale;
}

} // extern "C"
