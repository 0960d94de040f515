// SPDX-License-Identifier: GPL-2.0-only
// stops.hpp - vCPUs that a rule stopped, and what is replied.
#pragma once
#include <string>
#include "hwv/observer.hpp"

namespace hwvctl {

// "pass", "skip", "answer 5", "answer eax=1", "inject GP": all but id. Throws UsageError.
hwv_stop_reply parse_reply(const std::string &text);

// "vCPU 0 at cpuid 0x1 features, rip 0x1000, cpl 3, cr3 0x2000"
std::string stop_text(const hwv_stop &stop);

// Replies to every stop that waits; how many.
unsigned reply_to_all(hwv::Observer &observer, const hwv_stop_reply &reply);

// Asks on the terminal about each; false: no more answers come.
bool ask_about_stops(hwv::Observer &observer);

} // namespace hwvctl
