// SPDX-License-Identifier: GPL-2.0-only
// text_report.hpp - a recording summed up for people; and where exits come from, for flame graphs.
#pragma once
#include <string>
#include "records/profile.hpp"

namespace records {

// Tables: exits, time, hottest keys and places, what is missing. `top`: rows of the last two.
std::string text_report(const Recording &recording, const Profile &profile, const Symbols *symbols,
                        unsigned top);

// One line a stack, "vm;vCPU 0;kernel;function;exit 123", as flamegraph.pl, inferno and speedscope
// read it; the number is exits or, with `time`, nanoseconds.
std::string folded(const Recording &recording, const Filter &filter, const Symbols *symbols,
                   bool time);

// What a reader has to know before he trusts the figures: one sentence each.
std::vector<std::string> warnings(const Recording &recording, const Profile &profile);

} // namespace records
