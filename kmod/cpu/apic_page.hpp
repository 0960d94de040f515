// SPDX-License-Identifier: GPL-2.0-only
// apic_page.hpp - the local APIC's registers as they lie in memory: 32 bits each, 16 bytes apart.
// CPUs that deliver interrupts to a guest themselves work on such a page. Manual: Intel SDM vol. 3,
// "The Local APIC Block Diagram" (register map), "Virtual APIC State".
#pragma once
#include <atomic>
#include <cstdint>

namespace hwv::cpu {

namespace apic_reg {
inline constexpr std::uint32_t id = 0x020, version = 0x030, tpr = 0x080, apr = 0x090, ppr = 0x0a0,
                               eoi = 0x0b0, rrd = 0x0c0, ldr = 0x0d0, dfr = 0x0e0, svr = 0x0f0,
                               isr = 0x100, tmr = 0x180, irr = 0x200, esr = 0x280, icr = 0x300,
                               icr_high = 0x310, lvt_first = 0x320, lvt_last = 0x370,
                               initial_count = 0x380, current_count = 0x390, divide = 0x3e0,
                               self_ipi = 0x3f0;
}

class ApicPage {
  public:
    std::uint32_t get(std::uint32_t offset) const { return words_[offset / 4]; }
    void set(std::uint32_t offset, std::uint32_t value) { words_[offset / 4] = value; }
    // ICR in x2APIC mode is one register.
    void set_wide(std::uint32_t offset, std::uint64_t value) {
        set(offset, static_cast<std::uint32_t>(value));
        set(offset + 4, static_cast<std::uint32_t>(value >> 32));
    }
    // 64 of the vectors of ISR, TMR or IRR.
    std::uint64_t bits(std::uint32_t bitmap, unsigned word) const {
        const std::uint32_t low = bitmap + word * 0x20;
        return get(low) | static_cast<std::uint64_t>(get(low + 0x10)) << 32;
    }
    void set_bits(std::uint32_t bitmap, unsigned word, std::uint64_t value) {
        const std::uint32_t low = bitmap + word * 0x20;
        set(low, static_cast<std::uint32_t>(value));
        set(low + 0x10, static_cast<std::uint32_t>(value >> 32));
    }

  private:
    std::uint32_t words_[1024];
};
static_assert(sizeof(ApicPage) == 4096);

// IRR where such a CPU finds it while the guest runs, when somebody notifies it: Intel SDM vol. 3,
// "Posted-Interrupt Processing". It moves what is here onto the page.
struct alignas(64) PostedRequests {
    std::atomic<std::uint64_t> irr[4];
    std::uint64_t control[4]; // its first bit is cleared; the rest is for devices that post
};
static_assert(sizeof(PostedRequests) == 64);

// What a CPU that works on the page has to be told besides.
struct ApicSummary {
    std::uint8_t requested, in_service; // the highest of IRR and of ISR; 0: none
    std::uint64_t eoi_exits[4];         // vectors whose EOI is not the guest's alone
};

// A register of the page that the guest wrote, where the CPU does not do all that follows.
struct ApicWrite {
    std::uint32_t offset;
    std::uint8_t vector; // EOI: of the interrupt that the CPU has ended
};

} // namespace hwv::cpu
