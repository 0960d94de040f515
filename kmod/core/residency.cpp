// SPDX-License-Identifier: GPL-2.0-only
#include "core/residency.hpp"

namespace hwv::residency {

std::uint64_t *last_vcpu;

Status init() {
    last_vcpu =
        static_cast<std::uint64_t *>(hwv_host_alloc(hwv_host_cpu_count() * sizeof(std::uint64_t)));
    return last_vcpu ? Status{} : Status{Error::no_memory};
}

void exit() {
    hwv_host_free(last_vcpu);
    last_vcpu = nullptr;
}

} // namespace hwv::residency
