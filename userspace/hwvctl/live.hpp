// SPDX-License-Identifier: GPL-2.0-only
// live.hpp - what the commands share that look at running VMs.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <nlohmann/json_fwd.hpp>
#include "hwv/observer.hpp"

namespace hwvctl {

// For --help of each of them.
inline constexpr const char *vm_argument =
    "VM is an id, a name or the owner's pid as `hwvctl ls` shows them; where two could be meant,\n"
    "id:N, name:TEXT or pid:N.";

std::string state(const hwv_vm_entry &vm); // "runs", "paused" ...
std::string age(std::uint64_t ns);         // "3m07s"
// For programs: on one line, or indented.
std::string json_text(const nlohmann::json &json, bool one_line = false);
std::string vm_table(std::span<const hwv_vm_entry> vms);

} // namespace hwvctl
