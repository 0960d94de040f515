// SPDX-License-Identifier: GPL-2.0-only
// pictures.hpp - drawings of a recording as SVG, to stand inside an HTML page.
#pragma once
#include <string>
#include <string_view>
#include "records/timeline.hpp"

namespace records {

// Columns of exits, stacked by reason, with marks above.
std::string exits_over_time(const Timeline &timeline, const Profile &profile);
// Time to the right, how long exits of this reason took upwards (a row for each power of two),
// their number as colour.
std::string heat_map(const Timeline &timeline, const Profile &profile, unsigned reason);

// For text inside HTML and attributes.
std::string escaped(std::string_view text);
// "1.2 us", "340 ns"
std::string duration(double us);

} // namespace records
