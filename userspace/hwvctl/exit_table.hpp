// SPDX-License-Identifier: GPL-2.0-only
// exit_table.hpp - statistics as a table for people, as JSON for programs, as Prometheus has it.
#pragma once
#include <string>
#include <nlohmann/json_fwd.hpp>
#include "hwvctl/summary.hpp"

namespace hwvctl {

double to_us(std::uint64_t cycles, std::uint32_t tsc_khz);

// keys: how many of each reason are shown below it, at most. colours: for a terminal, what takes
// much of the time stands out.
std::string exit_table(const Summary &summary, std::uint32_t tsc_khz, unsigned keys = 0,
                       bool colours = false);
nlohmann::json exit_json(const Summary &summary, std::uint32_t tsc_khz);
// Text exposition format of Prometheus; vm: the VM's id and name as labels.
std::string exit_prom(const Summary &summary, std::uint32_t tsc_khz, const hwv_vm_entry &vm);

} // namespace hwvctl
