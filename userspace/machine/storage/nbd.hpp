// SPDX-License-Identifier: GPL-2.0-only
// Disks that another process serves by the NBD protocol: by its URI, or a child of our own that
// knows an image format.
#pragma once

#include <memory>
#include <string>

#include "machine/storage/disk.hpp"

namespace machine::storage {

bool is_nbd_uri(const std::string &path);
// Images other than raw ones, which qemu-nbd serves.
bool is_image_format(const std::string &format);

// Both throw std::runtime_error. The child ends with the disk, or with this process.
std::unique_ptr<Disk> open_nbd(const std::string &uri, bool read_only);
std::unique_ptr<Disk> open_image(const std::string &path, const std::string &format,
                                 bool read_only);

} // namespace machine::storage
