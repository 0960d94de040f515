// SPDX-License-Identifier: GPL-2.0-only
// maps.hpp - which MSRs a guest reaches without an exit. Default deny; ports all exit without a
// map. Intel SDM vol. 3 "MSR-Bitmap Address". All VMs share one map; a VM with a policy of its own
// gets one of its own.
#pragma once
#include <cstdint>
#include "core/result.hpp"
#include "host.h"
#include "vmx/capabilities.hpp"

namespace hwv::vmx {

// Where an MSR's bit for reads is in the map; that for writes is `write_offset` further. ~0: the
// map does not cover it, the CPU always exits.
constexpr std::uint32_t msr_bit(std::uint32_t index) {
    const std::uint32_t low = index & 0x1fff;
    switch (index & ~0x1fffu) {
    case 0: return low;
    case 0xc000'0000: return 0x2000 + low;
    default: return ~0u;
    }
}
inline constexpr std::uint32_t write_offset = 0x4000;
static_assert(msr_bit(0xc000'1fff) + write_offset == 4096 * 8 - 1 && msr_bit(0x4b56'4d00) == ~0u);

class MsrMap {
  public:
    Status create(const Capabilities &capabilities); // process context
    void destroy();                                  // idempotent

    void allow(std::uint32_t msr, bool read, bool write); // everything else exits
    std::uint64_t pa() const { return page_.pa; }

  private:
    hwv_host_page page_{};
};

} // namespace hwv::vmx
