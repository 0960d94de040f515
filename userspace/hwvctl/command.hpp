// SPDX-License-Identifier: GPL-2.0-only
// command.hpp - the subcommands: each is one file, and one row of the table in main.cpp.
#pragma once
#include <string>
#include <vector>

namespace hwvctl {

using Arguments = std::vector<std::string>; // what follows the subcommand's name

int run_command(const Arguments &arguments);
int doctor_command(const Arguments &arguments);
int ls_command(const Arguments &arguments);
int events_command(const Arguments &arguments);
int stat_command(const Arguments &arguments);
int pause_command(const Arguments &arguments);
int resume_command(const Arguments &arguments);
int kick_command(const Arguments &arguments);
int kill_command(const Arguments &arguments);
int screenshot_command(const Arguments &arguments);
int sendkey_command(const Arguments &arguments);
int powerbutton_command(const Arguments &arguments);
int balloon_command(const Arguments &arguments);
int regs_command(const Arguments &arguments);
int mem_command(const Arguments &arguments);
int policy_command(const Arguments &arguments);
int prog_command(const Arguments &arguments);
int top_command(const Arguments &arguments);
int trace_command(const Arguments &arguments);
int record_command(const Arguments &arguments);
int report_command(const Arguments &arguments);
int diff_command(const Arguments &arguments);
int advise_command(const Arguments &arguments);

// Exit statuses of hwvctl; `hwvctl run --help` tells them.
namespace status {
inline constexpr int powered_off = 0, host_error = 1, usage = 2, reset = 3, panic = 4,
                     triple_fault = 5, guest_error = 6, quit = 7,
                     debug_exit = 128; // plus the value written to the debug-exit port
inline constexpr int condition = 3;    // of diff: a --fail-if holds
} // namespace status

// The user's own mistake: printed as one line with a pointer to --help; exit status 2.
struct UsageError {
    std::string message;
};

} // namespace hwvctl
