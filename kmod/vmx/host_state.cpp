// SPDX-License-Identifier: GPL-2.0-only
// host_state.cpp - the host's half of a vCPU: what VM exits load, and what they do not, from load()
// to put().
#include "vmx/backend.hpp"

namespace hwv::vmx {

// ---- the host's half ---------------------------------------------------------------------------

// "Host-State Area": what is the same on all CPUs.
void Backend::write_host() {
    const std::uint16_t cs = code_selector();
    write(field::host_cr0, read_cr0());
    write(field::host_cr3, host_cr3_ = read_cr3());
    write(field::host_cr4, host_cr4_ = read_cr4());
    write(field::host_efer, arch::rdmsr(msr::efer));
    write(field::host_pat, arch::rdmsr(msr::pat));
    if (Cpus::capabilities().perf_global_ctrl) write(field::host_perf_global_ctrl, host_perf_);
    write(field::host_cs_selector, cs);
    write(field::host_ss_selector, cs + 8); // Linux's kernel data follows its code
    // A selector of a user's must not be here: put() loads those.
    write(field::host_ds_selector, 0);
    write(field::host_es_selector, 0);
    write(field::host_fs_selector, 0);
    write(field::host_gs_selector, 0);
    write(field::host_fs_base, host_fs_base_ = arch::rdmsr(msr::fs_base));
    write(field::host_rip, reinterpret_cast<std::uint64_t>(hwv_vmx_exit));
    host_rsp_ = 0; // written when it is known
    write_host_cpu();
}

// What belongs to the CPU: "Task-State Segment", in 64-bit mode, tells where TR's base is.
void Backend::write_host_cpu() {
    const std::uint16_t tr = str();
    const auto *descriptor = reinterpret_cast<const std::uint64_t *>(host_gdt_.base + tr);
    const std::uint64_t low = descriptor[0], high = descriptor[1];
    const std::uint64_t tr_base =
        (low >> 16 & 0xff'ffff) | (low >> 56 & 0xff) << 24 | (high & 0xffff'ffff) << 32;
    write(field::host_tr_selector, tr);
    write(field::host_tr_base, tr_base);
    write(field::host_gdtr_base, host_gdt_.base);
    write(field::host_idtr_base, sidt().base);
    write(field::host_gs_base, arch::rdmsr(msr::gs_base));
    write(field::host_sysenter_cs, static_cast<std::uint32_t>(arch::rdmsr(msr::sysenter_cs)));
    write(field::host_sysenter_esp, arch::rdmsr(msr::sysenter_esp));
    write(field::host_sysenter_eip, arch::rdmsr(msr::sysenter_eip));
}

// ---- MSRs that VM exits do not restore ---------------------------------------------------------

// All but KERNEL_GS_BASE.
[[gnu::always_inline]] inline void Backend::exchange_msrs(const HeldMsrs &from,
                                                          const HeldMsrs &to) {
    if (from.star != to.star) arch::wrmsr(msr::star, to.star);
    if (from.lstar != to.lstar) arch::wrmsr(msr::lstar, to.lstar);
    if (from.sfmask != to.sfmask) arch::wrmsr(msr::sfmask, to.sfmask);
    if (from.tsc_aux != to.tsc_aux && Cpus::capabilities().tsc_aux)
        arch::wrmsr(msr::tsc_aux, to.tsc_aux);
}

[[gnu::always_inline]] inline void Backend::hold_msrs() {
    cpu_->learn_msrs();
    host_kernel_gs_base_ = arch::rdmsr(msr::kernel_gs_base);
    if (guest_msrs_.kernel_gs_base != host_kernel_gs_base_)
        arch::wrmsr(msr::kernel_gs_base, guest_msrs_.kernel_gs_base);
    exchange_msrs(cpu_->host_msrs(), guest_msrs_);
}

// SWAPGS exchanges it. To be read before the host's GS is loaded again, which overwrites it.
[[gnu::always_inline]] inline void Backend::keep_swapped_gs() {
    guest_msrs_.kernel_gs_base = arch::rdmsr(msr::kernel_gs_base);
}

[[gnu::always_inline]] inline void Backend::release_msrs() {
    arch::wrmsr(msr::kernel_gs_base, host_kernel_gs_base_); // whatever is there now
    exchange_msrs(guest_msrs_, cpu_->host_msrs());
}

// ---- residency ---------------------------------------------------------------------------------

void Backend::load(const LoadContext &context) {
    cpu_ = &Cpus::at(context.cpu);
    loaded_ = cpu_->holds(vmcs_) || cpu_->load(vmcs_);
    set_work(work_no_cpu, !loaded_ || !cpu_->enabled());
    if (!loaded_) return;
    entered_ = false;
    l1d_stale_ = true;
    hold_msrs();
    if (fresh_ || context.other_cpu)
        host_gdt_ = sgdt(); // with the limit that it has before VM exits
    if (fresh_)
        write_all();
    else if (context.other_cpu)
        write_host_cpu();
    // Of this CPU's caches nothing is known: the vCPU changed its tables elsewhere, or the root's
    // page had another VM's tables. "Guidelines for Use of the INVEPT Instruction".
    if (context.other_cpu) flush_translations();
    const std::uint64_t fs_base = arch::rdmsr(msr::fs_base);
    if (fs_base != host_fs_base_) write(field::host_fs_base, host_fs_base_ = fs_base);
    read_data_selectors(host_segments_);
    if (context.other_vcpu || cpu_->shared()) barrier();
}

// For branch predictions. KVM issues one only where it changes the guest itself: beside it, hwv's
// guests come and go with one.
void Backend::barrier() {
    if (hwv_host_facts()->speculation & HWV_SPEC_IBPB) arch::wrmsr(msr::pred_cmd, pred_cmd::ibpb);
}

void Backend::put() {
    if (loaded_) {
        // Breakpoints that are on stay real, else they would not hit.
        if (debug_granted_) {
            debug_granted_ = false;
            intercept_debug();
        }
        keep_swapped_gs();
        if (entered_) {
            lgdt(host_gdt_); // VM exits leave its limit at 64K
            hwv_host_segments_restore(&host_segments_);
        }
        release_msrs();
        if (cpu_->put()) barrier();
    }
    loaded_ = false;
    set_work(work_no_cpu, true);
    cpu_ = nullptr;
}

} // namespace hwv::vmx
