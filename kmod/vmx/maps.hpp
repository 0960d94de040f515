// SPDX-License-Identifier: GPL-2.0-only
// maps.hpp - which MSRs a guest reaches without an exit. Default deny; ports all exit without a
// map. Intel SDM vol. 3 "MSR-Bitmap Address". All VMs share one map; a vCPU with traps on MSRs gets
// one of its own.
#pragma once
#include <cstdint>
#include "core/result.hpp"
#include "core/traps.hpp"
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
    Status create(); // process context; all exit
    void destroy();  // idempotent

    void allow(std::uint32_t msr, bool read, bool write);
    void allow_all_but(const Traps &traps, const Capabilities &capabilities); // ... that need not
    explicit operator bool() const { return page_.va; }
    std::uint64_t pa() const { return page_.pa; }

  private:
    hwv_host_page page_{};
};

// The x2APIC's registers that the CPU serves from the virtual-APIC page. Without apic_controls they
// would be the host's: then `open` is false.
void open_apic(MsrMap &map, bool open, const Traps &traps);

} // namespace hwv::vmx
