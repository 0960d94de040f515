// SPDX-License-Identifier: GPL-2.0-only
// A Result is no number and no truth value by accident: it has to be asked.
// expect: cannot convert|no viable conversion
#include "core/result.hpp"

int length(hwv::Result<int> r) {
#ifdef HWV_CONTROL
    return r ? *r : 0;
#else
    return r;
#endif
}
