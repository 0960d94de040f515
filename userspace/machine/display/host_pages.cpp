// SPDX-License-Identifier: GPL-2.0-only
#include "machine/display/host_pages.hpp"

#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <system_error>

namespace machine {

HostPages::HostPages(std::size_t bytes) {
    void *at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "device memory");
    bytes_ = {static_cast<std::byte *>(at), bytes};
}

HostPages::~HostPages() { ::munmap(bytes_.data(), bytes_.size()); }

void HostPages::clear() noexcept {
    // Gives the pages back; a guest that has them mapped finds fresh ones.
    if (::madvise(bytes_.data(), bytes_.size(), MADV_DONTNEED) != 0)
        std::memset(bytes_.data(), 0, bytes_.size());
}

} // namespace machine
