// SPDX-License-Identifier: GPL-2.0-only
// exit_table.hpp - a vCPU's statistics as a table for people or as JSON for programs.
#pragma once
#include <string>
#include "hwv/vcpu.hpp"

namespace hwvctl {

std::string exit_table(const hwv::Stats &stats, std::uint32_t tsc_khz);
std::string exit_json(const hwv::Stats &stats, std::uint32_t tsc_khz);

} // namespace hwvctl
