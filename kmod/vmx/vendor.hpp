// SPDX-License-Identifier: GPL-2.0-only
// vendor.hpp - Intel's table of the calls that differ by vendor.
#pragma once
#include "core/vendor.hpp"
#include "vmx/cpu.hpp"

namespace hwv::vmx {
extern const Vendor vendor;
}
