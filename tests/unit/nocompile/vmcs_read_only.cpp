// SPDX-License-Identifier: GPL-2.0-only
// What an exit says is not for writing.
// expect: no matching function for call to .write
#include "vmx/arch.hpp"

void forge() {
#ifdef HWV_CONTROL
    (void)hwv::vmx::read(hwv::vmx::field::exit_reason);
#else
    hwv::vmx::write(hwv::vmx::field::exit_reason, 0);
#endif
}
