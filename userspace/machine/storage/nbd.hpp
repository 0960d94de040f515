// SPDX-License-Identifier: GPL-2.0-only
// Disks that another process serves by the NBD protocol: by its URI, or a child of our own that
// knows an image format.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "machine/storage/disk.hpp"

namespace machine::storage {

bool is_nbd_uri(const std::string &path);
// Images other than raw ones, which qemu-nbd serves.
bool is_image_format(const std::string &format);

// A server of whom nothing comes for so long, while a request is under way, is given up: this
// request and all later ones fail, so that nobody waits for ever, the end of the VM included.
constexpr std::chrono::seconds nbd_patience{30};

// Both throw std::runtime_error. The child ends with the disk, or with this process.
std::unique_ptr<Disk> open_nbd(const std::string &uri, bool read_only,
                               std::chrono::milliseconds patience = nbd_patience);
std::unique_ptr<Disk> open_image(const std::string &path, const std::string &format, bool read_only,
                                 std::chrono::milliseconds patience = nbd_patience);

} // namespace machine::storage
