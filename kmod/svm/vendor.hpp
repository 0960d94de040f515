// SPDX-License-Identifier: GPL-2.0-only
// vendor.hpp - AMD's table of the calls that differ by vendor.
#pragma once
#include "core/vendor.hpp"
#include "svm/cpu.hpp"

namespace hwv::svm {
extern const Vendor vendor;
}
