// SPDX-License-Identifier: GPL-2.0-only
// maps.hpp - which MSRs and ports a guest reaches without an exit. Default deny. APM vol. 2 "MSR
// Intercepts", "I/O Intercepts". All VMs share one pair; a vCPU with traps on MSRs gets a map of
// its own.
#pragma once
#include <cstdint>
#include "core/traps.hpp"
#include "core/result.hpp"
#include "host.h"
#include "svm/capabilities.hpp"

namespace hwv::svm {

// Where an MSR's two bits (read, write) are in the map: bit number of the read intercept. ~0: the
// map does not cover it, the CPU always exits.
constexpr std::uint32_t msr_bit(std::uint32_t index) {
    const std::uint32_t low = index & 0x1fff;
    switch (index & ~0x1fffu) {
    case 0: return low * 2;
    case 0xc000'0000: return 0x4000 + low * 2;
    case 0xc001'0000: return 0x8000 + low * 2;
    default: return ~0u;
    }
}
static_assert(msr_bit(0xc001'1fff) == 0xbffe && msr_bit(0x4b56'4d00) == ~0u);

class MsrMap {
  public:
    Status create(); // process context; all exit
    void destroy();  // idempotent

    void allow(std::uint32_t msr, bool read, bool write);
    void allow_all_but(const Traps &traps, const Capabilities &capabilities); // ... that need not
    explicit operator bool() const { return page_.va; }
    std::uint64_t pa() const { return page_.pa; }

  private:
    static constexpr std::uint32_t order = 1; // 8 KiB
    hwv_host_page page_{};
};

class PermissionMaps {
  public:
    Status create(const Capabilities &capabilities); // process context
    void destroy();                                  // idempotent

    std::uint64_t msr_pa() const { return msr_.pa(); }
    std::uint64_t io_pa() const { return io_.pa; }

  private:
    static constexpr std::uint32_t io_order = 2; // 12 of 16 KiB
    MsrMap msr_;
    hwv_host_page io_{};
};

} // namespace hwv::svm
