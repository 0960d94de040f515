// SPDX-License-Identifier: GPL-2.0-only
// host.hpp - the test's side of the fakes of host.h. reset() before each test.
#pragma once
#include <cstdint>
#include "host.h"

namespace hwv::fake {

struct Host {
    struct hwv_host_facts facts {};
    std::int64_t blocks = 0;      // hwv_host_alloc() and pages not yet freed
    std::int64_t fail_after = -1; // how many allocations succeed from now; -1: all
    int guest_depth = 0;          // guest_enter() less guest_exit()
    unsigned entries = 0;
    unsigned kicks = 0;
    std::uint32_t cpu_count = 4;
    void reset();
};

Host &host();

} // namespace hwv::fake
