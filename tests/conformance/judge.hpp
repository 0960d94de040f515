// SPDX-License-Identifier: GPL-2.0-only
// judge.hpp - what is wrong with a result: by the manual's answer, and by the oracle's.
#pragma once
#include "conformance/framework.hpp"

namespace conformance {

std::string against_manual(const Case &c, const Result &r);
std::string against_oracle(const Case &c, const Result &hwv, const Result &kvm);

} // namespace conformance
