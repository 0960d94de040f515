// SPDX-License-Identifier: GPL-2.0-only
// system.hpp - /dev/hwv: what this machine can do, and new VMs.
#pragma once
#include <string>
#include <vector>
#include "hwv.h"
#include "hwv/fd.hpp"
#include "hwv/vm.hpp"

namespace hwv {

inline constexpr const char *device_path = "/dev/hwv";

// How to come by SVM/VMX where no VM of hwv's runs yet; see hwv_tenure.
enum class Tenure {
    automatic, // beside KVM where its module is loaded and /dev/kvm may be used, else own
    own,       // and be refused where somebody else has it on
};

class System {
  public:
    System(); // opens /dev/hwv; throws Error
    hwv_info info() const;
    std::vector<hwv_cpuid_entry> supported_cpuid() const;
    Vm create_vm(const std::string &name, std::uint64_t flags,
                 Tenure tenure = Tenure::automatic) const;
    int fd() const { return fd_.get(); }

  private:
    Fd fd_;
};

// Why this machine cannot run guests and what to do about it; one sentence each.
std::string explain(hwv_unusable why);

} // namespace hwv
