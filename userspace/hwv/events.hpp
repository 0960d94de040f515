// SPDX-License-Identifier: GPL-2.0-only
// events.hpp - a subscription to what happens to VMs, as it happens.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include "hwv/netlink_message.hpp"

namespace hwv {

struct Event {
    hwv_netlink_event kind;
    std::uint64_t vm, sequence; // counts the VM's events from 1: a gap is what was lost
    std::uint64_t time_ns;      // CLOCK_MONOTONIC
    std::string name;
    // What the kind has of these, see enum hwv_netlink_event.
    std::uint32_t pid, uid;
    hwv_netlink_end why;
    std::uint32_t vcpu, reason, rule;
    std::uint64_t count, key, rip, holder;
};

class Subscription {
  public:
    // All VMs' events where one may have them (CAP_SYS_ADMIN), else those of one's own VMs.
    Subscription();
    bool all() const { return all_; }
    int fd() const;
    // The next one; nullopt: nothing came for so long (-1: for ever), or a signal did.
    std::optional<Event> next(int timeout_ms);

  private:
    void receive();
    std::optional<Event> take();

    NetlinkSocket socket_;
    int family_;
    bool all_ = false;
    std::deque<Event> waiting_;
    std::map<std::uint64_t, std::uint64_t> last_; // of each VM, its number
};

const char *event_name(hwv_netlink_event kind); // "vm_created" ...
const char *end_name(hwv_netlink_end why);      // "closed", "killed", "triple_fault"

} // namespace hwv
