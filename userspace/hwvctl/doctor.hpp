// SPDX-License-Identifier: GPL-2.0-only
// doctor.hpp - what hwvctl doctor finds: of this machine, or of what a guest makes of hers.
#pragma once
#include <map>
#include <string>
#include <vector>
#include "hwv.h"
#include "records/profile.hpp"

namespace hwvctl {

enum class Verdict { ok, warning, bad };

struct Finding {
    Verdict verdict;
    std::string what;
    std::string advice;
};

using Findings = std::vector<Finding>;

struct GuestFacts {
    records::Profile profile; // since the VM's start
    hwv_regs regs{};          // of the first vCPU
    // MSRs of the first vCPU: 0 where it has none; empty if its launcher does not tell.
    std::map<std::uint32_t, std::uint64_t> msrs;
    std::uint64_t resident = 0, in_huge_pages = 0; // bytes of the launcher's memory; 0: unknown
};

Findings judge_guest(const GuestFacts &guest);
// Of the VM of that name, which stands still for a moment. Throws hwv::Error.
GuestFacts look_at_guest(const std::string &name);

} // namespace hwvctl
