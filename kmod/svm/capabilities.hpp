// SPDX-License-Identifier: GPL-2.0-only
// capabilities.hpp - what this CPU's SVM can do, read once.
#pragma once
#include <cstdint>
#include "hwv.h"

namespace hwv::svm {

struct Capabilities {
    hwv_unusable unusable = HWV_UNUSABLE_NO_VIRT; // HWV_USABLE, or the first thing that is missing
    bool nrips = false;
    bool decode_assists = false;
    bool flush_by_asid = false;
    bool vmcb_clean = false;
    bool pause_filter = false;
    bool pause_threshold = false;
    bool lbrv = false;
    bool vgif = false;
    bool vnmi = false;
    bool v_spec_ctrl = false;
    bool tsc_ratio = false;
    bool tsc_aux = false;         // RDTSCP or RDPID: the MSR exists
    std::uint32_t first_asid = 1; // those below belong to encrypted guests
    std::uint32_t last_asid = 0;
    std::uint8_t phys_bits = 36;
};

Capabilities read_capabilities(); // of the CPU that runs this

std::uint64_t features(const Capabilities &capabilities); // HWV_FEATURE_* of the CPU's SVM

} // namespace hwv::svm
