// SPDX-License-Identifier: GPL-2.0-only
// options.cpp - the text of --net.
#include <arpa/inet.h>
#include <charconv>
#include <stdexcept>

#include "machine/net/link.hpp"

namespace machine::net {

namespace {

[[noreturn]] void refuse(const std::string &what) { throw std::invalid_argument(what); }

std::uint16_t parse_port(const std::string &text) {
    std::uint16_t value = 0;
    const char *end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || rest != end || value == 0) refuse("'" + text + "' is no port");
    return value;
}

std::uint32_t parse_address(const std::string &text) {
    in_addr address{};
    if (text.empty()) return 0;
    if (inet_pton(AF_INET, text.c_str(), &address) != 1) refuse("'" + text + "' is no address");
    return ntohl(address.s_addr);
}

// "ADDR:PORT", the address may be empty.
std::pair<std::uint32_t, std::uint16_t> parse_place(const std::string &text) {
    const auto colon = text.rfind(':');
    if (colon == std::string::npos) refuse("'" + text + "' is not [ADDR]:PORT");
    return {parse_address(text.substr(0, colon)), parse_port(text.substr(colon + 1))};
}

Forward parse_forward(const std::string &text) {
    const auto dash = text.find('-');
    Forward forward;
    forward.udp = text.starts_with("udp:");
    if ((!forward.udp && !text.starts_with("tcp:")) || dash == std::string::npos)
        refuse("hostfwd= wants tcp:[ADDR]:PORT-[ADDR]:PORT, not '" + text + "'");
    std::tie(forward.host_address, forward.host_port) = parse_place(text.substr(4, dash - 4));
    std::tie(forward.guest_address, forward.guest_port) = parse_place(text.substr(dash + 1));
    return forward;
}

Mac parse_mac(const std::string &text) {
    Mac mac{};
    for (std::size_t i = 0; i < mac.size(); ++i) {
        const char *at = text.data() + 3 * i;
        if (text.size() != 17 || std::from_chars(at, at + 2, mac[i], 16).ptr != at + 2 ||
            (i + 1 < mac.size() && at[2] != ':'))
            refuse("'" + text + "' is no MAC address");
    }
    if ((mac[0] & 1) != 0) refuse("'" + text + "' is a group's address");
    return mac;
}

void set_option(NetOptions &net, const std::string &text) {
    const auto equals = text.find('=');
    const std::string key = text.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : text.substr(equals + 1);
    const bool user = net.kind == NetOptions::Kind::user, tap = net.kind == NetOptions::Kind::tap;
    const bool on_or_off = value == "on" || value == "off";
    if (key == "mac")
        net.mac = parse_mac(value);
    else if (key == "ifname" && tap)
        net.name = value;
    else if (key == "vhost" && tap && on_or_off)
        net.vhost = value == "on";
    else if (key == "hostfwd" && user)
        net.forwards.push_back(parse_forward(value));
    else if (key == "restrict" && user && on_or_off)
        net.restrict = value == "on";
    else
        refuse("'" + text + "' is not known here");
}

} // namespace

NetOptions parse_net(const std::string &text) {
    NetOptions net;
    std::size_t comma = text.find(',');
    const std::string kind = text.substr(0, comma);
    if (kind == "tap") {
        net.kind = NetOptions::Kind::tap;
    } else if (kind.starts_with("unix:") && kind.size() > 5) {
        net.kind = NetOptions::Kind::unix_socket;
        net.name = kind.substr(5);
    } else if (kind != "user") {
        refuse("'" + kind + "' is none of user, tap, unix:PATH");
    }
    while (comma != std::string::npos) {
        const std::size_t start = comma + 1;
        comma = text.find(',', start);
        set_option(net, text.substr(start, comma == std::string::npos ? comma : comma - start));
    }
    if (net.kind == NetOptions::Kind::tap && net.name.empty()) refuse("tap wants ifname=");
    return net;
}

std::unique_ptr<Link> open_link(const NetOptions &options, EventLoop &loop, std::mutex &lock) {
    switch (options.kind) {
    case NetOptions::Kind::tap: return open_tap(options.name, loop);
    case NetOptions::Kind::unix_socket: return open_socket(options.name, loop);
    case NetOptions::Kind::user: break;
    }
    return open_user(options, lock);
}

} // namespace machine::net
