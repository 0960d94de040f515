// SPDX-License-Identifier: GPL-2.0-only
// key_names.hpp - what an exit was about, in words: ports, MSRs, CPUID leaves and the like.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace records {

// The well-known name of a key; empty where it has none. reason: enum hwv_exit_reason.
std::string key_name(std::uint32_t reason, std::uint64_t key);

// As people read it: "0x3f8 COM1", "0x6e0 TSC_DEADLINE", "cr3".
std::string key_text(std::uint32_t reason, std::uint64_t key);

// Which numbers a key of the reason is: "port", "msr", "leaf" ...; empty where it has none.
const char *key_kind(std::uint32_t reason);

// By the name that all tools print, as exit_name() gives it.
std::optional<std::uint32_t> reason_of(const std::string &name);

std::string hex(std::uint64_t value); // "0x1f"

} // namespace records
