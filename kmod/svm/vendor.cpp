// SPDX-License-Identifier: GPL-2.0-only
// vendor.cpp - here the run loop and its handlers become code for AMD.
#include "svm/vendor.hpp"
#include "svm/backend.hpp"

namespace hwv::svm {

constinit const Vendor vendor = VendorOf<Backend, Cpus>::table;

} // namespace hwv::svm
