// SPDX-License-Identifier: GPL-2.0-only
// hwv_vm.hpp - a VM of hwv's for tests that use the client library.
#pragma once
#include <cstdint>
#include <map>
#include "hwv.h"
#include "hwv/system.hpp"

namespace oracle {

// Not to ride: hwv owns the CPUs, unless KVM has them as long as its module is loaded (from Linux
// 6.12 on).
hwv::Vm create(const hwv::System &system, std::uint64_t flags, bool ride = false);

// An observer of the VM that this process made last, whose rules count every exit that the CPU can
// make.
class Trapper {
  public:
    Trapper(); // throws Failure
    Trapper(const Trapper &) = delete;
    ~Trapper(); // the exits are gone, and their number is in trapped_exits()

  private:
    int fd_;
};

// By reason: what all Trappers have counted.
std::map<hwv_exit_reason, std::uint64_t> &trapped_exits();

} // namespace oracle
