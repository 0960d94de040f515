// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string>

namespace machine::virtio {

struct VsockOptions {
    std::uint32_t cid = 3; // the guest's address
    std::string path;
};

// "cid=N,path=PATH". Throws std::invalid_argument.
VsockOptions parse_vsock(const std::string &text);

} // namespace machine::virtio
