// SPDX-License-Identifier: GPL-2.0-only
// host.h, "kernel memory" and facts: physical addresses are the test's own addresses.
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include "hardware.hpp"
#include "host.hpp"
#include "vmx_hardware.hpp"

namespace hwv::fake {

Host &host() {
    static Host the_host;
    return the_host;
}

void Host::reset() {
    const std::int64_t leaked = blocks;
    *this = Host{};
    blocks = leaked;
    facts.phys_bits = 48;
    facts.statistics = 1;
    facts.xcr0 = facts.xcr0_guest = 7;
}

namespace {
bool out_of_memory() {
    if (host().fail_after < 0) return false;
    return host().fail_after-- == 0;
}
} // namespace

} // namespace hwv::fake

using hwv::fake::host;

extern "C" {

const struct hwv_host_facts *hwv_host_facts(void) { return &host().facts; }

void *hwv_host_alloc(__u64 bytes) {
    if (hwv::fake::out_of_memory()) return nullptr;
    host().blocks++;
    return std::calloc(1, bytes);
}

void hwv_host_free(void *memory) {
    if (memory) host().blocks--;
    std::free(memory);
}

void *hwv_host_shared_alloc(__u64 bytes) { return hwv_host_alloc(bytes); }
void hwv_host_shared_free(void *memory) { hwv_host_free(memory); }

int hwv_host_pages_alloc(__u32 order, struct hwv_host_page *out) {
    if (hwv::fake::out_of_memory()) return -ENOMEM;
    const std::size_t bytes = std::size_t{4096} << order;
    out->va = std::aligned_alloc(bytes, bytes);
    std::memset(out->va, 0, bytes);
    out->pa = reinterpret_cast<std::uintptr_t>(out->va);
    host().blocks++;
    return 0;
}

void hwv_host_pages_free(const struct hwv_host_page *page, __u32) {
    host().blocks--;
    hwv::fake::vmx().memory_freed(page->pa);
    std::free(page->va);
}

} // extern "C"
