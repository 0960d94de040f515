// SPDX-License-Identifier: GPL-2.0-only
// A plain number names no field.
// expect: no matching function for call to .write
#include "vmx/arch.hpp"

void disable() {
#ifdef HWV_CONTROL
    hwv::vmx::write(hwv::vmx::field::exception_bitmap, 0);
#else
    hwv::vmx::write(0x4004, 0);
#endif
}
