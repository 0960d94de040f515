// SPDX-License-Identifier: GPL-2.0-only
// What goes over a vsock's queues ("Socket Device", "Device Operation").
#pragma once

#include <cstddef>
#include <cstdint>

namespace machine::virtio::vsock {

enum class Operation : std::uint16_t {
    invalid,
    request,
    response,
    reset,
    shutdown,
    data,
    credit_update,
    credit_request,
};

constexpr std::uint16_t stream = 1;
constexpr std::uint64_t host_cid = 2;

// Which sides of a stream are over, by a shutdown's sender.
constexpr std::uint32_t receives_no_more = 1, sends_no_more = 2;

struct __attribute__((packed)) Header {
    std::uint64_t from_cid = 0;
    std::uint64_t to_cid = 0;
    std::uint32_t from_port = 0;
    std::uint32_t to_port = 0;
    std::uint32_t length = 0;
    std::uint16_t type = stream;
    Operation operation = Operation::invalid;
    std::uint32_t flags = 0;
    std::uint32_t space = 0; // the sender's buffer
    std::uint32_t taken = 0; // bytes that have left it
};
static_assert(sizeof(Header) == 44);

// Of both sides: a stream is one pair of them.
struct Ports {
    std::uint32_t host = 0;
    std::uint32_t guest = 0;
    bool operator==(const Ports &) const = default;
};

} // namespace machine::virtio::vsock
