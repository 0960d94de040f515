// SPDX-License-Identifier: GPL-2.0-only
// html_report.hpp - a recording as one page of HTML that needs nothing else: no script, no font, no
// network.
#pragma once
#include <string>
#include "records/profile.hpp"

namespace records {

std::string html_report(const Recording &recording, const Filter &filter, const Profile &profile,
                        const Symbols *symbols, unsigned top);

} // namespace records
