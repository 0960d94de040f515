// SPDX-License-Identifier: GPL-2.0-only
// hwv_vm.hpp - a VM of hwv's for tests that use the client library.
#pragma once
#include <cstdint>
#include "hwv/system.hpp"

namespace oracle {

// Not to ride: hwv owns the CPUs, unless KVM has them as long as its module is loaded (from Linux
// 6.12 on).
hwv::Vm create(const hwv::System &system, std::uint64_t flags, bool ride = false);

} // namespace oracle
