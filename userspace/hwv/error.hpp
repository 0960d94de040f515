// SPDX-License-Identifier: GPL-2.0-only
// error.hpp - a failed call, with what was attempted: becomes the one line that a user reads.
#pragma once
#include <cerrno>
#include <stdexcept>
#include <string>

namespace hwv {

class Error : public std::runtime_error {
  public:
    Error(int code, const std::string &what) : std::runtime_error{what}, code_{code} {}
    int code() const { return code_; } // errno; 0 where none applies

  private:
    int code_;
};

// `attempt` reads like "create a VM"; the message adds what the errno means.
[[noreturn]] void fail(const std::string &attempt, int code = errno);

} // namespace hwv
