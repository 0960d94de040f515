// SPDX-License-Identifier: GPL-2.0-only
// An error cannot be dropped on the floor.
// expect: ignoring return(ed)? value .*nodiscard
#include "core/result.hpp"

#pragma GCC diagnostic error "-Wunused-result"

hwv::Status may_fail();

void caller() {
#ifdef HWV_CONTROL
    if (!may_fail()) {
        return;
    }
#else
    may_fail();
#endif
}
