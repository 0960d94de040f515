// SPDX-License-Identifier: GPL-2.0-only
// netlink_message.hpp - generic netlink as far as hwv needs it: a socket, a message's attributes, a
// request and what comes back.
#pragma once
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include "hwv_netlink.h"

struct nl_sock;
struct nl_msg;
struct nlattr;

namespace hwv {

// Of one message or nest: the last one of each kind, and all in order.
struct Attributes {
    Attributes(nlattr *all, int all_bytes);
    explicit Attributes(nlattr *nest);

    bool has(hwv_netlink_attribute a) const { return at[a]; }
    std::uint64_t number(hwv_netlink_attribute a) const; // 0 where it is not there
    std::uint32_t number32(hwv_netlink_attribute a) const {
        return static_cast<std::uint32_t>(number(a));
    }
    std::string text(hwv_netlink_attribute a) const; // "" where it is not there
    // As much of it as there is, and as this program knows.
    template <typename T>
    T structure(hwv_netlink_attribute a) const {
        T out{};
        copy(a, &out, sizeof out);
        return out;
    }
    void each(hwv_netlink_attribute kind, const std::function<void(nlattr *)> &visit) const;

    nlattr *at[HWV_ATTR_END] = {};
    nlattr *first;
    int bytes;

  private:
    void copy(hwv_netlink_attribute a, void *to, std::size_t bytes_at_most) const;
};

struct NetlinkClose {
    void operator()(nl_sock *socket) const;
    void operator()(nl_msg *message) const;
};
using NetlinkSocket = std::unique_ptr<nl_sock, NetlinkClose>;
using NetlinkMessage = std::unique_ptr<nl_msg, NetlinkClose>;

NetlinkSocket netlink_socket();      // connected to generic netlink; throws Error
int netlink_family(nl_sock *socket); // hwv's number; throws Error where its module is not loaded
NetlinkMessage netlink_request(int family, hwv_netlink_command command,
                               std::optional<std::uint64_t> vm, int flags = 0);

// What the kernel says to a request: errno, and its word on it.
struct Verdict {
    int code = 0;
    std::string why;
    std::optional<std::uint64_t> cookie;
    bool interrupted = false; // a dump's list changed meanwhile

    // `attempt` as fail() has it. Throws Error unless code is 0.
    void must_be_good(const std::string &attempt) const;
};
using ReadMessage = std::function<void(const Attributes &)>;
Verdict netlink_ask(nl_sock *socket, nl_msg *message, const ReadMessage &read);
// The attributes of a message from hwv.
Attributes netlink_attributes(nl_msg *message);

} // namespace hwv
