// SPDX-License-Identifier: GPL-2.0-only
// holder.hpp - rules that stop a vCPU want somebody who replies. A process in the background does
// and holds them, longer than the command that asked for them; later commands find it by a socket
// that is named after the VM.
#pragma once
#include <cstdint>
#include <functional>
#include "hwv/fd.hpp"
#include "hwv/observer.hpp"

namespace hwvctl {

class Holder {
  public:
    explicit Holder(std::uint64_t vm);
    bool first() const { return static_cast<bool>(socket_); } // false: the user has one already

    // Returns in the caller's process. The child it leaves behind has the observer, until somebody
    // asks for the end or the VM ends; stopped: a vCPU waits for a reply.
    void stay(hwv::Observer &observer, const std::function<void(hwv::Observer &)> &stopped);

  private:
    [[noreturn]] void serve(hwv::Observer &observer,
                            const std::function<void(hwv::Observer &)> &stopped);
    hwv::Fd socket_;
};

// What the holder held is undone. False: this user has none.
bool end_holder(std::uint64_t vm);

} // namespace hwvctl
