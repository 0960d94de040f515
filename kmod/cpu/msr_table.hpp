// SPDX-License-Identifier: GPL-2.0-only
// msr_table.hpp - MSRs that guests look at and that hold a plain value: firmware's settings,
// chipset registers, workarounds for errata that a guest has no business with. Each is here because
// some unmodified system reads or writes it unasked.
#pragma once
#include <cstdint>

namespace hwv::cpu {

enum class PlainKind : std::uint8_t {
    fixed,  // the guest's writes are #GP
    same,   // writes of the value it has are fine, others are #GP
    sink,   // writes are dropped
    stored, // bits in mask are kept, others dropped
    strict, // bits in mask are kept, others are #GP
    write_only,
};

struct PlainMsr {
    std::uint32_t index;
    PlainKind kind;
    std::uint64_t reset;
    std::uint64_t mask = 0;
};

// Ascending.
inline constexpr PlainMsr plain_msrs[] = {
    {0x0, PlainKind::same, 0},        // P5_MC_ADDR
    {0x1, PlainKind::same, 0},        // P5_MC_TYPE
    {0x17, PlainKind::fixed, 0},      // PLATFORM_ID
    {0x2a, PlainKind::same, 0},       // EBL_CR_POWERON
    {0x34, PlainKind::fixed, 0},      // SMI_COUNT
    {0x3a, PlainKind::same, 1},       // FEATURE_CONTROL: locked, nothing on
    {0x79, PlainKind::write_only, 0}, // BIOS_UPDT_TRIG
    {0x8b, PlainKind::sink, 0},       // BIOS_SIGN_ID, PATCH_LEVEL: by the facts
    {0xc1, PlainKind::same, 0},       // performance counters: none
    {0xc2, PlainKind::same, 0},
    {0xcd, PlainKind::fixed, 3},        // FSB_FREQ
    {0xce, PlainKind::fixed, 0},        // PLATFORM_INFO
    {0xfe, PlainKind::fixed, 0x508},    // MTRRcap: 8 variable, fixed, write-combining
    {0x10a, PlainKind::fixed, 0},       // ARCH_CAPABILITIES: by the facts
    {0x11e, PlainKind::sink, 0},        // BBL_CR_CTL3
    {0x140, PlainKind::same, 0},        // MISC_FEATURES_ENABLES
    {0x179, PlainKind::fixed, 10},      // MCG_CAP: banks
    {0x17a, PlainKind::stored, 0, 0x7}, // MCG_STATUS
    {0x186, PlainKind::same, 0},
    {0x187, PlainKind::same, 0},
    {0x198, PlainKind::fixed, 0}, // PERF_STATUS
    {0x199, PlainKind::sink, 0},  // PERF_CTL
    {0x1a0, PlainKind::stored, 0x1801,
     0x40'0044'0009},             // MISC_ENABLE: fast strings; no BTS, no PEBS
    {0x1d9, PlainKind::sink, 0},  // DEBUGCTL
    {0x1db, PlainKind::fixed, 0}, // last branch and interrupt
    {0x1dc, PlainKind::fixed, 0},
    {0x1dd, PlainKind::fixed, 0},
    {0x1de, PlainKind::fixed, 0},
    {0x606, PlainKind::fixed, 0}, // RAPL: no units, no energy
    {0x611, PlainKind::fixed, 0},
    {0x619, PlainKind::fixed, 0},
    {0x639, PlainKind::fixed, 0},
    {0x641, PlainKind::fixed, 0},
    {0xc001'0000, PlainKind::same, 0}, // PERF_CTL0-3, PERF_CTR0-3
    {0xc001'0001, PlainKind::same, 0},
    {0xc001'0002, PlainKind::same, 0},
    {0xc001'0003, PlainKind::same, 0},
    {0xc001'0004, PlainKind::same, 0},
    {0xc001'0005, PlainKind::same, 0},
    {0xc001'0006, PlainKind::same, 0},
    {0xc001'0007, PlainKind::same, 0},
    {0xc001'0010, PlainKind::sink, 0}, // SYSCFG
    {0xc001'0015, PlainKind::stored, 1u << 24,
     1u << 18 | 1u << 24},                    // HWCR: TscFreqSel, McStatusWrEn
    {0xc001'001a, PlainKind::sink, 0},        // TOP_MEM
    {0xc001'001d, PlainKind::sink, 0},        // TOP_MEM2
    {0xc001'001f, PlainKind::sink, 0},        // NB_CFG
    {0xc001'0020, PlainKind::write_only, 0},  // PATCH_LOADER
    {0xc001'0055, PlainKind::sink, 0},        // INT_PENDING
    {0xc001'0058, PlainKind::sink, 0},        // MMIO_CFG_BASE
    {0xc001'0111, PlainKind::fixed, 0x30000}, // SMBASE
    {0xc001'0112, PlainKind::sink, 0},        // SMM_ADDR
    {0xc001'0113, PlainKind::sink, 0},        // SMM_MASK
    {0xc001'0114, PlainKind::fixed, 0x18},    // VM_CR: SVM disabled and locked
    {0xc001'0117, PlainKind::same, 0},        // VM_HSAVE_PA
    {0xc001'0140, PlainKind::fixed, 0},       // OSVW_ID_LENGTH
    {0xc001'0141, PlainKind::fixed, 0},       // OSVW_STATUS
    {0xc001'0299, PlainKind::fixed, 0},       // RAPL
    {0xc001'029a, PlainKind::fixed, 0},
    {0xc001'029b, PlainKind::fixed, 0},
    {0xc001'1022, PlainKind::sink, 0},      // DC_CFG
    {0xc001'1023, PlainKind::sink, 0},      // TW_CFG
    {0xc001'1029, PlainKind::strict, 2, 2}, // DE_CFG: LFENCE serializes
    {0xc001'102a, PlainKind::sink, 0},      // BU_CFG2
    {0xc001'102c, PlainKind::sink, 0},      // EX_CFG
};
inline constexpr unsigned plain_count = sizeof(plain_msrs) / sizeof(plain_msrs[0]);

// Not here: LS_CFG (0xc0011020). A guest that can read it believes that it can turn speculative
// store bypass off with it.

constexpr bool plain_ascending() {
    for (unsigned i = 1; i < plain_count; ++i)
        if (plain_msrs[i - 1].index >= plain_msrs[i].index) return false;
    return true;
}
static_assert(plain_ascending());

inline constexpr unsigned no_row = ~0u;

// The rows by a hash of their index, each in the first free slot from there on.
class PlainSlots {
  public:
    constexpr PlainSlots() {
        for (std::uint8_t &row : rows_)
            row = none;
        for (unsigned row = 0; row < plain_count; ++row) {
            unsigned at = first(plain_msrs[row].index);
            while (rows_[at] != none)
                at = (at + 1) % size;
            rows_[at] = static_cast<std::uint8_t>(row);
        }
    }
    constexpr unsigned row(std::uint32_t index) const {
        for (unsigned at = first(index); rows_[at] != none; at = (at + 1) % size)
            if (plain_msrs[rows_[at]].index == index) return rows_[at];
        return no_row;
    }

  private:
    static constexpr unsigned size = 256;
    static constexpr std::uint8_t none = 0xff;
    static_assert(plain_count < none && plain_count <= size / 2);
    static constexpr unsigned first(std::uint32_t index) {
        return index * 0x9e37'79b1u >> 24; // Knuth, "The Art of Computer Programming", 6.4
    }

    std::uint8_t rows_[size];
};
inline constexpr PlainSlots plain_slots;

constexpr unsigned plain_row(std::uint32_t index) { return plain_slots.row(index); }
static_assert(plain_row(0) == 0 && plain_row(0xc001'102c) == plain_count - 1 &&
              plain_row(2) == no_row);

} // namespace hwv::cpu
