// SPDX-License-Identifier: GPL-2.0-only
// The number of a field is no value: the length of an instruction is not 0x440c.
// expect: cannot convert|no viable conversion|no matching function for call to .write
#include "vmx/arch.hpp"

void deliver_again() {
    using namespace hwv::vmx;
#ifdef HWV_CONTROL
    write(field::entry_instruction_length, read(field::exit_instruction_length));
#else
    write(field::entry_instruction_length, field::exit_instruction_length);
#endif
}
