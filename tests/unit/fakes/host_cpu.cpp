// SPDX-License-Identifier: GPL-2.0-only
// host.h, "this CPU" and the accounting around a guest entry, on hardware.hpp's CPUs.
#include "hardware.hpp"
#include "host.hpp"

extern "C" {

__u32 hwv_host_cpu(void) { return hwv::fake::hardware().cpu; }
__u32 hwv_host_cpu_count(void) { return hwv::fake::host().cpu_count; }
void hwv_host_guest_enter(void) {
    hwv::fake::host().guest_depth++;
    hwv::fake::host().entries++;
}
void hwv_host_guest_exit(void) { hwv::fake::host().guest_depth--; }

void hwv_host_virt_spec_ctrl(__u64 guest, int to_guest) {
    hwv::fake::host().ssbd = to_guest && (guest & 4);
}

void hwv_host_cpu_kick(__u32) { hwv::fake::host().kicks++; }
void hwv_host_cpu_post(__u32) { hwv::fake::host().posts++; }

} // extern "C"
