// SPDX-License-Identifier: GPL-2.0-only
// holder.hpp - what an observer does ends with it. So a process in the background holds what is to
// outlive the command that asked for it, and later commands find it by a socket that is named after
// the VM.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include "hwv/fd.hpp"
#include "hwv/observer.hpp"

namespace hwvctl {

enum class Held { pause, policy };

inline constexpr char ask_text = 't', ask_json = 'j', ask_end = 'e'; // what a holder is asked for

// What the process does while it stays.
struct Duty {
    std::function<std::string(hwv::Observer &, char)> answer = {}; // to what is asked
    std::function<void(hwv::Observer &)> stopped = {};             // a vCPU waits for a reply
};

class Holder {
  public:
    Holder(Held what, std::uint64_t vm);
    bool first() const { return static_cast<bool>(socket_); } // false: the user has one already

    // Returns in the caller's process. The child it leaves behind has the observer, until somebody
    // asks for the end or the VM ends.
    void stay(hwv::Observer &observer, const Duty &duty = {});

  private:
    [[noreturn]] void serve(hwv::Observer &observer, const Duty &duty);
    hwv::Fd socket_;
};

// What the holder says to it; after ask_end what it held is undone. nullopt: this user has none.
std::optional<std::string> ask_holder(Held what, std::uint64_t vm, char request);

} // namespace hwvctl
