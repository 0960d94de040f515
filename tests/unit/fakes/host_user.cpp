// SPDX-License-Identifier: GPL-2.0-only
// host.h, the owner's memory and the lock: host virtual addresses are the test's own.
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include "hardware.hpp"
#include "host.hpp"

using hwv::fake::hardware;
using hwv::fake::host;

namespace {
void *at(__u64 hva) { return reinterpret_cast<void *>(hva); }
void may_sleep() {
    if (host().locks || host().preempt_off) hardware().violation("sleep in atomic context");
}
} // namespace

extern "C" {

void hwv_host_log(const char *format, __u64, __u64) { host().log.emplace_back(format); }
void hwv_host_bug(void) { std::abort(); }

void hwv_host_lock_init(struct hwv_host_lock *lock) { *lock = {}; }
void hwv_host_lock_take(struct hwv_host_lock *) {
    if (host().locks++) hardware().violation("lock taken twice");
}
void hwv_host_lock_release(struct hwv_host_lock *) { --host().locks; }
void hwv_host_give_way(void) {
    may_sleep();
    ++host().ways_given;
    if (host().on_give_way) host().on_give_way();
}

int hwv_host_user_read(void *to, __u64 hva, __u32 bytes) {
    may_sleep();
    std::memcpy(to, at(hva), bytes);
    return 0;
}
int hwv_host_user_write(__u64 hva, const void *from, __u32 bytes) {
    may_sleep();
    std::memcpy(at(hva), from, bytes);
    return 0;
}
int hwv_host_user_read_atomic(void *to, __u64 hva, __u32 bytes) {
    std::memcpy(to, at(hva), bytes);
    return 0;
}
int hwv_host_user_read16_atomic(void *to, __u64 hva) {
    std::memcpy(to, at(hva), 16);
    return 0;
}
int hwv_host_user_write_atomic(__u64 hva, const void *from, __u32 bytes) {
    std::memcpy(at(hva), from, bytes);
    return 0;
}
int hwv_host_user_exchange8(__u64 hva, __u8 *value) {
    may_sleep();
    std::swap(*static_cast<__u8 *>(at(hva)), *value);
    return host().exchange_error;
}
int hwv_host_user_walk_atomic(__u64, __u64, __u64, __u64, __u64 *) { return -EFAULT; }

int hwv_host_fault_in(struct hwv_host_vm *, __u64 hva, int write, struct hwv_host_fault *out) {
    may_sleep();
    ++host().faults_in;
    if (host().on_fault_in) host().on_fault_in();
    if (host().fault_error) return host().fault_error;
    *out = {.pfn = hva >> 12,
            .sequence = host().faults_in,
            .level = host().fault_level,
            .writable = write || host().fault_writable,
            .held = 1,
            .reserved = 0};
    return 0;
}
int hwv_host_fault_stale(struct hwv_host_vm *, __u64 sequence, __u64) {
    if (!host().locks) hardware().violation("sequence compared without the lock");
    if (sequence != host().faults_in) hardware().violation("sequence of another fault");
    if (!host().stale) return 0;
    --host().stale;
    return 1;
}
void hwv_host_fault_done(const struct hwv_host_fault *fault, int written) {
    host().faults_done += fault->held;
    host().faults_written += written != 0;
}
void hwv_host_page_set_dirty(__u64 pfn) { host().dirty_pfns.push_back(pfn); }

} // extern "C"
