// SPDX-License-Identifier: GPL-2.0-only
#include "core/residency.hpp"

namespace hwv::residency {

std::uint64_t *last_vm;

Status init() {
    last_vm =
        static_cast<std::uint64_t *>(hwv_host_alloc(hwv_host_cpu_count() * sizeof(std::uint64_t)));
    return last_vm ? Status{} : Status{Error::no_memory};
}

void exit() {
    hwv_host_free(last_vm);
    last_vm = nullptr;
}

} // namespace hwv::residency
