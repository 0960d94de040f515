// SPDX-License-Identifier: GPL-2.0-only
// kvm.hpp - the other hypervisors of this machine: which there are, and a VM of KVM's to ride on.
#pragma once
#include <string>
#include "hwv/fd.hpp"

namespace hwv {

// Name of KVM's module for this CPU where it is loaded (or built in), else empty.
std::string kvm_module();

// A VM of KVM's with nothing in it. Without: /dev/kvm cannot be opened or makes none, errno says
// why.
Fd empty_kvm_vm();

// Why SVM/VMX is taken and what to do, after a VM was refused with EBUSY. kvm_error: what
// empty_kvm_vm() said, 0 where it was not asked.
std::string explain_busy(int kvm_error);

} // namespace hwv
