// SPDX-License-Identifier: GPL-2.0-only
// vendor.cpp - here the run loop and its handlers become code for Intel.
#include "vmx/vendor.hpp"
#include "vmx/backend.hpp"

namespace hwv::vmx {

constinit const Vendor vendor = VendorOf<Backend, Cpus>::table;

} // namespace hwv::vmx
