// SPDX-License-Identifier: GPL-2.0-only
// l1d.hpp - L1TF on CPUs without IA32_FLUSH_CMD: replaces what the L1 data cache holds by reading
// memory that is nobody's. Intel, "Deep Dive: Intel Analysis of L1 Terminal Fault", "L1D flush".
#pragma once
#include <cstdint>
#include "core/arch.hpp"
#include "core/result.hpp"
#include "host.h"

namespace hwv::vmx {

class L1dBuffer {
  public:
    Status create() { // process context; where the kernel asks for flushes
        if (!(hwv_host_facts()->speculation & HWV_SPEC_L1D_FLUSH)) return {};
        TRY(from_errno(hwv_host_pages_alloc(order, &pages_)));
        // Pages that are alike may be one page of a hypervisor's below, and take one page's room.
        auto *words = static_cast<std::uint64_t *>(pages_.va);
        for (std::uint32_t i = 0; i < size / 8; i++)
            words[i] = i / 512 + 1;
        return {};
    }
    void destroy() { // idempotent
        if (pages_.va) hwv_host_pages_free(&pages_, order);
        pages_ = {};
    }
    // Twice the largest L1 data cache, after its translations are in the TLB. irqs off, noinstr.
    [[gnu::always_inline]] void replace() const {
        const auto *bytes = static_cast<const volatile std::uint8_t *>(pages_.va);
        for (std::uint32_t at = 0; at < size; at += 4096)
            (void)bytes[at];
        arch::load_fence();
        for (std::uint32_t at = 0; at < size; at += 64)
            (void)bytes[at];
        arch::load_fence();
    }

  private:
    static constexpr std::uint32_t order = 4, size = 4096u << order;
    hwv_host_page pages_{};
};

} // namespace hwv::vmx
