// SPDX-License-Identifier: GPL-2.0-only
// policy_text.hpp - rules as people write them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>
#include <nlohmann/json_fwd.hpp>
#include "hwv.h"
#include "hwv/netlink.hpp"
#include "hwv/observer.hpp"

namespace hwvctl {

// For --help: the whole format.
extern const char *const policy_format;

struct PolicyText {
    std::vector<hwv_rule> rules;
    std::vector<unsigned> lines; // of each rule
    std::uint32_t stop_timeout_ms = 0;

    bool stops() const; // some rule has the action stop
};

// name: for messages, "FILE:LINE: what is wrong". Throws UsageError.
PolicyText parse_policy(const std::string &text, const std::string &name);
PolicyText read_policy(const std::string &path); // "-" is stdin

// As parse_policy() reads it.
std::string rule_text(const hwv_rule &rule);
nlohmann::json policy_json(const std::vector<hwv::Rule> &rules);
std::string policy_table(const std::vector<hwv::Rule> &rules);

// Installs it. A rule that the kernel refuses is named by its line.
void set_policy(hwv::Observer &observer, const PolicyText &policy, const std::string &name);
// The same, kept by the VM itself: none of its rules stops.
void keep_policy(hwv::Netlink &netlink, std::uint64_t vm, const PolicyText &policy,
                 const std::string &name);

} // namespace hwvctl
