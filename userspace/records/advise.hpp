// SPDX-License-Identifier: GPL-2.0-only
// advise.hpp - what a profile's exits are for, what they cost, and which setting would spare them.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>
#include "records/profile.hpp"

namespace records {

struct Advice {
    std::string id;   // stable, for programs
    std::string what; // "console output by the UART"
    std::string why;
    std::string setting; // what to do
    std::uint64_t exits = 0;
    double exit_share = 0; // of all exits
    // Of the vCPUs' life: the exits' own time and what user spent on them; where a share of a
    // reason's exits is meant, at that reason's mean.
    double time_share = 0;
};

// The most costly first; nothing that is below `least` (a share) of exits and of time.
std::vector<Advice> advise(const Profile &profile, double least = 0.005);

std::string advice_text(const Profile &profile, const std::vector<Advice> &advice);
nlohmann::json advice_json(const Profile &profile, const std::vector<Advice> &advice);

} // namespace records
