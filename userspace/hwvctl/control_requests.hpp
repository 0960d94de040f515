// SPDX-License-Identifier: GPL-2.0-only
#pragma once
#include "hwvctl/control.hpp"

namespace hwvctl {

// What a request brings about; whatever it holds, there is a reply.
ControlMessage answer_control(const Controlled &controlled, const nlohmann::json &request);

} // namespace hwvctl
