// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <span>
#include <sys/uio.h>

#include "machine/storage/disk.hpp"

namespace machine::storage {

// All of `segments` by preadv or pwritev, however few bytes each call moves. 0 or an errno: EIO at
// the file's end, which somebody has cut off.
template <typename Call>
int transfer(Call call, int file, std::span<const iovec> segments, std::uint64_t offset) noexcept {
    std::size_t done = 0; // of the first segment
    while (!segments.empty()) {
        iovec part{static_cast<char *>(segments[0].iov_base) + done, segments[0].iov_len - done};
        const bool partial = done != 0;
        const auto count = static_cast<int>(std::min<std::size_t>(segments.size(), IOV_MAX));
        const ssize_t moved = call(file, partial ? &part : segments.data(), partial ? 1 : count,
                                   static_cast<off_t>(offset));
        if (moved < 0 && errno == EINTR) continue;
        if (moved <= 0) return moved < 0 ? errno : EIO;
        offset += static_cast<std::uint64_t>(moved);
        done += static_cast<std::size_t>(moved);
        while (!segments.empty() && done >= segments[0].iov_len) {
            done -= segments[0].iov_len;
            segments = segments.subspan(1);
        }
    }
    return 0;
}

int fill_with_zeroes(Disk &disk, std::uint64_t offset, std::uint64_t length) noexcept;

} // namespace machine::storage
