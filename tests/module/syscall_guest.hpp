// SPDX-License-Identifier: GPL-2.0-only
// syscall_guest.hpp - a guest of hwv's or KVM's that does nothing but SYSCALL and SYSRET, and looks
// each time at all that either reads from MSRs: two of different identities notice at once when one
// runs on what belongs to the other.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include "oracle/test_vm.hpp"

class SyscallGuest {
  public:
    // identity: 0 or 1. Throws oracle::Failure where the hypervisor refuses. hwv rides if it can.
    // With a timer the guest can halt until its next tick.
    SyscallGuest(oracle::Kind kind, unsigned identity, std::uint32_t timer_ns = 0);

    // That many system calls, then as often as wanted a halt and as many again, before it leaves to
    // user. Empty, or what was wrong.
    std::string run(unsigned calls, unsigned halts = 0);

  private:
    std::uint64_t &word(std::uint64_t at);
    std::unique_ptr<oracle::TestVm> vm_;
};

// What the host keeps in MSRs for a thread: its GS base, and the CPU's number in TSC_AUX.
class HostThreadState {
  public:
    HostThreadState(); // gives the calling thread a GS base of its own
    std::string check() const;

  private:
    std::uint64_t self_;
};

void pin_this_thread(int cpu);

struct WorkerManner {
    int cpu = -1; // where it stays
    unsigned calls = 300, halts = 0;
    std::uint32_t timer_ns = 0;
    bool real_time = false; // takes the CPU from the others at each tick
};

// The same in a thread of its own, until it is stopped or something is wrong, in the guest or the
// thread's own state.
class SyscallWorker {
  public:
    SyscallWorker(oracle::Kind kind, unsigned identity, const WorkerManner &manner = {});
    ~SyscallWorker() { stop(); }
    std::string stop(); // what was wrong, if anything
    bool advances();    // right so far, and more calls than before after a while
    long preemptions() const { return preemptions_; } // of its thread, so far

  private:
    void work();
    const WorkerManner manner_;
    SyscallGuest guest_;
    std::atomic<bool> stop_{false}, wrong_{false};
    std::atomic<std::uint64_t> runs_{0};
    std::string complaint_;
    std::atomic<long> preemptions_{0};
    std::thread thread_;
};
