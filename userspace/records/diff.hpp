// SPDX-License-Identifier: GPL-2.0-only
// diff.hpp - two profiles side by side, and conditions on what changed.
#pragma once
#include <optional>
#include <string>
#include <vector>
#include "records/profile.hpp"

namespace records {

// metric := exits | user | time | mean | p50 | p99 | max, each also with ".REASON", or rate |
// seconds | guest | kernel | halted | descheduled | userspace | stopped. Times are in microseconds,
// rate in exits per second; nullopt: no such metric.
std::optional<double> metric(const Profile &profile, const std::string &name);

// condition := metric (< | >) threshold. Threshold: "+5%", "-5%": by how much B differs from A;
// "+100", "-100": the same as a number; "100": B itself.
struct Condition {
    std::string text, metric;
    bool above = true;
    enum class Kind { absolute, difference, percent } kind = Kind::absolute;
    double threshold = 0;

    // Throws std::invalid_argument with what is wrong.
    static Condition parse(const std::string &text);
    bool holds(const Profile &a, const Profile &b) const;
};

std::string diff_text(const Profile &a, const Profile &b);
std::string diff_json(const Profile &a, const Profile &b, const std::vector<Condition> &conditions);
// "exits>+5%: 100 became 120 (+20.0 %)"
std::string describe(const Condition &condition, const Profile &a, const Profile &b);

} // namespace records
