// SPDX-License-Identifier: GPL-2.0-only
// A field's number says how wide its values are.
// expect: the value is not as wide as the field
#include "vmx/vmcs.hpp"

#ifdef HWV_CONTROL
hwv::vmx::Field<std::uint64_t, 0x2010> tsc_offset;
#else
hwv::vmx::Field<std::uint32_t, 0x2010> tsc_offset;
#endif
