// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <stdexcept>

namespace boot {

// What a loader throws: one line, fit to be shown to the user after the program's name.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

} // namespace boot
