// SPDX-License-Identifier: GPL-2.0-only
// result.hpp - a value or an error. Errors carry the errno that the C door returns.
#pragma once
#include <type_traits>
#include <utility>

namespace hwv {

enum class Error : int {
    none = 0,
    permission = 1,
    not_found = 2,
    interrupted = 4,
    io = 5,
    too_big = 7,
    again = 11,
    no_memory = 12,
    fault = 14,
    busy = 16,
    exists = 17,
    no_device = 19,
    invalid = 22,
    no_space = 28,
    not_supported = 95,
    shut_down = 108,
    stale = 116,
};

// 0 or -errno, as Linux wants it.
constexpr int to_errno(Error e) { return -static_cast<int>(e); }

template <typename T>
class [[nodiscard]] Result {
  public:
    constexpr Result(T value) : value_{std::move(value)} {}
    constexpr Result(Error error) : error_{error} {}
    constexpr explicit operator bool() const { return error_ == Error::none; }
    constexpr Error error() const { return error_; }
    constexpr T &operator*() { return value_; }
    constexpr const T &operator*() const { return value_; }
    constexpr T *operator->() { return &value_; }

  private:
    T value_{};
    Error error_{Error::none};
};

template <>
class [[nodiscard]] Result<void> {
  public:
    constexpr Result() = default;
    constexpr Result(Error error) : error_{error} {}
    constexpr explicit operator bool() const { return error_ == Error::none; }
    constexpr Error error() const { return error_; }

  private:
    Error error_{Error::none};
};

using Status = Result<void>;

constexpr int to_errno(const Status &s) { return to_errno(s.error()); }

// An errno from the C door as an Error: hosts may return codes that the enum does not name.
constexpr Status from_errno(int code) {
    return code < 0 ? Status{static_cast<Error>(-code)} : Status{};
}

} // namespace hwv

// TRY(call): returns the error of a failed call from this function.
#define TRY(call)                                                                                  \
    do {                                                                                           \
        if (auto try_result_ = (call); !try_result_) return try_result_.error();                   \
    } while (0)
