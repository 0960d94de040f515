// SPDX-License-Identifier: GPL-2.0-only
// host.hpp - the test's side of the fakes of host.h. reset() before each test.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>
#include "host.h"

namespace hwv::fake {

struct Host {
    struct hwv_host_facts facts {};
    std::int64_t blocks = 0;      // hwv_host_alloc() and pages not yet freed
    std::int64_t fail_after = -1; // how many allocations succeed from now; -1: all
    int guest_depth = 0;          // guest_enter() less guest_exit()
    unsigned entries = 0;
    unsigned kicks = 0, posts = 0;
    std::vector<std::uint32_t> served; // interrupts that exits took
    bool ssbd = false;                 // the CPU's, by hwv_host_virt_spec_ctrl()
    std::uint32_t cpu_count = 4;

    // host_run.cpp: a vCPU's thread. `block` is the sleep of a halted vCPU (without it: a signal).
    int preempt_off = 0;
    bool irqs_off = false, tsc_stable = true;
    unsigned begun = 0; // entries begun, with or without work
    unsigned works = 0; // entries that find work for the thread, from now on
    unsigned work_served = 0, wakes = 0, kicks_waited = 0, machine_checks = 0;
    int work_result = 0;
    std::function<void()> on_work;
    std::function<int()> block;
    std::function<int(hwv_host_vcpu *)> yield_to; // without it: that one waits for no CPU
    std::function<void(hwv_host_program *, hwv_program_context &)> program;
    std::function<int()> pause;    // an observer has the VM; without it: no more
    std::function<void()> stopped; // a rule stopped the vCPU; without it: the time is over
    unsigned observer_wakes = 0;
    unsigned triple_faults = 0, drops = 0; // that subscribers are told of
    std::vector<hwv_host_hit> hits;
    std::function<int(int port, std::uint64_t address, std::uint32_t bytes, std::uint64_t data)>
        ioevent;
    std::vector<std::uint8_t> resampled;
    std::vector<std::string> traced; // host_trace.cpp: "what@RIP"

    // host_vmx.cpp
    std::vector<bool> offline; // CPUs that hwv_host_call() does not reach
    unsigned calls = 0, vmxe_calls = 0, nmis = 0;
    int vmxe_error = 0;
    bool l1d_stale = false;
    std::vector<std::string> log;

    // host_user.cpp: the owner's memory is the test's own
    unsigned stale = 0; // looks at the sequence that say "invalidated", from now on
    int fault_error = 0, exchange_error = 0;
    bool fault_writable = true;
    std::uint32_t fault_level = 1;
    std::function<void()> on_fault_in;
    unsigned faults_in = 0, faults_done = 0, faults_written = 0;
    int locks = 0;
    unsigned ways_given = 0;
    std::function<void()> on_give_way;
    std::vector<std::uint64_t> dirty_pfns;
    void reset();
};

Host &host();

} // namespace hwv::fake
