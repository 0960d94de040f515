// SPDX-License-Identifier: GPL-2.0-only
// observe.hpp - exits that somebody looks at, and the waits that observers cause. Preemption off.
#pragma once
#include "core/rules.hpp"

namespace hwv {

// At a boundary between two entries, after those who observe changed. True: there are any.
template <Backend B>
bool VcpuOf<B>::instrument_anew() {
    if (!recorder.any()) recorder.drop();
    return recorder.any() || vm.policies.any() || vm.programs();
}

template <Backend B>
[[gnu::noinline]] Outcome VcpuOf<B>::observe(Exit &exit) {
    recorder.open({.tsc_exit = exit_tsc,
                   .tsc_entry = 0,
                   .rip = backend.rip(),
                   .cr3 = backend.cr3(),
                   .qualification = exit.raw_info[0],
                   .key = instrument::key_of(exit, gprs),
                   .data = instrument::data_of(exit, gprs),
                   .sequence = 0,
                   .reason = static_cast<__u8>(exit.reason),
                   .flags = static_cast<__u8>(backend.cpl()),
                   .vcpu = static_cast<__u16>(id)});
    const Outcome outcome = judge(exit);
    if (exit.reason == HWV_EXIT_MSR_READ && outcome == Outcome::resume_next)
        recorder.set_data(edx_eax());
    return outcome;
}

template <Backend B>
int VcpuOf<B>::block(hwv_segment_kind kind) {
    int error = 0;
    cut(HWV_TIME_KERNEL);
    waiting = true;
    {
        const Between instructions{*this};
        MaySleep scope{*this};
        error = hwv_host_vcpu_block(host);
    }
    waiting = false;
    cut(kind);
    return error;
}

template <Backend B>
auto VcpuOf<B>::wait_for_room(int &error) -> Step {
    recorder.count_wait();
    recorder.mark(HWV_RECORD_STOPPED);
    wants_room = true;
    error = block(HWV_TIME_STOPPED);
    wants_room = false;
    return error ? Step::left : Step::again;
}

// The vCPU is the observers' meanwhile: they read and set its registers. A signal ends the wait,
// and the next HWV_RUN goes on with it.
template <Backend B>
auto VcpuOf<B>::stand_still(int &error) -> Step {
    cut(HWV_TIME_KERNEL);
    recorder.mark(HWV_RECORD_STOPPED);
    waiting = true;
    int paused = 0;
    {
        const Between instructions{*this};
        MaySleep scope{*this};
        paused = hwv_host_vcpu_pause(host);
    }
    waiting = false;
    if (paused) put_back(request::pause); // not over
    check_events = true;
    cut(HWV_TIME_STOPPED);
    if (paused >= 0) return Step::again;
    error = paused;
    return Step::left;
}

} // namespace hwv
