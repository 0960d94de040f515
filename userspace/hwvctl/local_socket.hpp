// SPDX-License-Identifier: GPL-2.0-only
// local_socket.hpp - unix sockets by names in the abstract name space, which are gone with their
// process. Anybody can take such a name, and call: each side looks at who the other one is.
#pragma once
#include <cstddef>
#include <cstring>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include "hwv/error.hpp"
#include "hwv/fd.hpp"

namespace hwvctl {

struct LocalAddress {
    explicit LocalAddress(const std::string &name) {
        if (name.size() >= sizeof raw.sun_path) hwv::fail("name a socket", ENAMETOOLONG);
        std::memcpy(raw.sun_path + 1, name.data(), name.size());
        bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    }
    const sockaddr *get() const { return reinterpret_cast<const sockaddr *>(&raw); }
    sockaddr_un raw{.sun_family = AF_UNIX, .sun_path = {}};
    socklen_t bytes = 0;
};

inline hwv::Fd local_socket() {
    hwv::Fd out{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!out) hwv::fail("make a socket");
    return out;
}

// Nobody's where it cannot be told.
inline ucred peer_of(const hwv::Fd &socket) {
    ucred peer{.pid = 0, .uid = static_cast<uid_t>(-1), .gid = 0};
    socklen_t bytes = sizeof peer;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes);
    return peer;
}

} // namespace hwvctl
