// SPDX-License-Identifier: GPL-2.0-only
// vendor.cpp - here the run loop and its handlers become code for AMD.
#include "svm/vendor.hpp"
#include "svm/backend.hpp"

namespace hwv::svm {
namespace {

// The CPUs' half of the table.
struct Cpus {
    static hwv_unusable unusable() { return capabilities().unusable; }
    static std::uint64_t features() { return svm::features(capabilities()); }
    static Status prepare(std::uint32_t index) { return cpu(index).prepare(); }
    static void release(std::uint32_t index) { cpu(index).release(); }
    static Status enable() { return cpu(hwv_host_cpu()).enable(capabilities()); }
    static void disable() { cpu(hwv_host_cpu()).disable(); }
};

} // namespace

constinit const Vendor vendor = VendorOf<Backend, Cpus>::table;

} // namespace hwv::svm
