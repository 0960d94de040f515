// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/rng.hpp"

#include <array>
#include <sys/random.h>

namespace machine::virtio {

void Rng::serve(unsigned number) noexcept {
    Queue &requests = *queue(number);
    Chain chain;
    std::array<std::byte, most> bytes;
    for (unsigned i = 0; i < turn && requests.pop(chain); ++i) {
        const std::size_t wanted = std::min<std::uint64_t>(Chain::bytes(chain.writable()), most);
        const ssize_t got = getrandom(bytes.data(), wanted, 0);
        const std::size_t given = scatter(
            chain.writable(), std::span{bytes}.first(got > 0 ? static_cast<std::size_t>(got) : 0));
        requests.push(chain.head, static_cast<std::uint32_t>(given));
    }
    requests.publish();
    if (requests.wait_for_more()) requests.ring();
}

} // namespace machine::virtio
