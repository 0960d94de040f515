// SPDX-License-Identifier: GPL-2.0-only
#include "hwv/events.hpp"
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <poll.h>
#include "hwv/error.hpp"

namespace hwv {
namespace {

constexpr int buffer_bytes = 1 << 20; // a burst of some thousand events

Event event_in(const Attributes &a) {
    return {.kind = static_cast<hwv_netlink_event>(a.number(HWV_ATTR_EVENT)),
            .vm = a.number(HWV_ATTR_VM),
            .sequence = a.number(HWV_ATTR_SEQUENCE),
            .time_ns = a.number(HWV_ATTR_TIME),
            .name = a.text(HWV_ATTR_NAME),
            .pid = a.number32(HWV_ATTR_PID),
            .uid = a.number32(HWV_ATTR_UID),
            .why = static_cast<hwv_netlink_end>(a.number(HWV_ATTR_WHY)),
            .vcpu = a.number32(HWV_ATTR_VCPU),
            .reason = a.number32(HWV_ATTR_REASON),
            .rule = a.number32(HWV_ATTR_RULE_INDEX),
            .count = a.number(HWV_ATTR_COUNT),
            .key = a.number(HWV_ATTR_KEY),
            .rip = a.number(HWV_ATTR_RIP),
            .holder = a.number(HWV_ATTR_HOLDER)};
}

int on_event(nl_msg *message, void *argument) {
    const Attributes a = netlink_attributes(message);
    if (a.has(HWV_ATTR_EVENT)) static_cast<std::deque<Event> *>(argument)->push_back(event_in(a));
    return NL_OK;
}

} // namespace

Subscription::Subscription() : socket_{netlink_socket()}, family_{netlink_family(socket_.get())} {
    nl_sock *s = socket_.get();
    ::nl_socket_set_buffer_size(s, buffer_bytes, 0);
    const int group = ::genl_ctrl_resolve_grp(s, HWV_NETLINK_NAME, HWV_NETLINK_EVENTS);
    const int joined = group < 0 ? group : ::nl_socket_add_membership(s, group);
    all_ = joined == 0;
    if (!all_ && joined != -NLE_PERM && joined != -NLE_OBJ_NOTFOUND)
        throw Error{0, std::string{"cannot subscribe to events: "} + ::nl_geterror(joined)};
    // Also where one joined: in another network namespace nothing is sent to the group.
    const NetlinkMessage watch = netlink_request(family_, HWV_CMD_WATCH, std::nullopt);
    const Verdict watching = netlink_ask(s, watch.get(), [](const Attributes &) {});
    if (!all_) watching.must_be_good("subscribe to events");
    ::nl_socket_disable_seq_check(s);
    ::nl_socket_disable_auto_ack(s);
    ::nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, on_event, &waiting_);
    ::nl_socket_set_nonblocking(s);
}

int Subscription::fd() const { return ::nl_socket_get_fd(socket_.get()); }

// An overrun shows as a gap in the events' numbers.
void Subscription::receive() {
    const int result = ::nl_recvmsgs_default(socket_.get());
    if (result < 0 && result != -NLE_AGAIN && result != -NLE_INTR && result != -NLE_NOMEM)
        throw Error{0, std::string{"cannot receive events: "} + ::nl_geterror(result)};
}

// One may come twice, see the constructor.
std::optional<Event> Subscription::take() {
    while (!waiting_.empty()) {
        Event event = std::move(waiting_.front());
        waiting_.pop_front();
        std::uint64_t &last = last_[event.vm];
        if (event.sequence <= last) continue;
        last = event.sequence;
        return event;
    }
    return std::nullopt;
}

std::optional<Event> Subscription::next(int timeout_ms) {
    for (;;) {
        if (auto event = take()) return event;
        pollfd wait{.fd = fd(), .events = POLLIN, .revents = 0};
        if (::poll(&wait, 1, timeout_ms) <= 0) return std::nullopt;
        receive();
    }
}

const char *event_name(hwv_netlink_event kind) {
    switch (kind) {
    case HWV_NEWS_VM_CREATED: return "vm_created";
    case HWV_NEWS_VM_STARTED: return "vm_started";
    case HWV_NEWS_VM_PAUSED: return "vm_paused";
    case HWV_NEWS_VM_RESUMED: return "vm_resumed";
    case HWV_NEWS_VM_KILLED: return "vm_killed";
    case HWV_NEWS_VM_ENDED: return "vm_ended";
    case HWV_NEWS_TRIPLE_FAULT: return "triple_fault";
    case HWV_NEWS_POLICY_HIT: return "policy_hit";
    case HWV_NEWS_RING_OVERFLOW: return "ring_overflow";
    default: return "?";
    }
}

const char *end_name(hwv_netlink_end why) {
    switch (why) {
    case HWV_END_CLOSED: return "closed";
    case HWV_END_KILLED: return "killed";
    case HWV_END_TRIPLE_FAULT: return "triple_fault";
    default: return "?";
    }
}

} // namespace hwv
