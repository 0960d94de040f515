// SPDX-License-Identifier: GPL-2.0-only
#include "machine/storage/disk.hpp"

#include <charconv>
#include <stdexcept>

#include "machine/storage/nbd.hpp"

namespace machine::storage {

namespace {

constexpr unsigned most_queues = 16;
constexpr std::size_t serial_bytes = 20;

[[noreturn]] void refuse(const std::string &what) { throw std::invalid_argument(what); }

unsigned parse_queues(const std::string &text) {
    unsigned value = 0;
    const char *end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || rest != end || value == 0 || value > most_queues)
        refuse("queues= wants 1 to 16, not '" + text + "'");
    return value;
}

void set_value(DiskOptions &disk, const std::string &key, const std::string &value) {
    if (key == "format") {
        if (value != "raw" && !is_image_format(value))
            refuse("format '" + value + "' is not known: raw, qcow2, qed, vdi, vhdx, vmdk, vpc");
        disk.format = value;
    } else if (key == "serial") {
        if (value.size() > serial_bytes) refuse("a serial number has at most 20 characters");
        disk.serial = value;
    } else if (key == "queues") {
        disk.queues = parse_queues(value);
    } else if (key == "aio") {
        if (value != "uring" && value != "threads") refuse("aio= is uring or threads");
        disk.io_uring = value == "uring";
    } else if (key == "bus") {
        if (value != "virtio" && value != "ide") refuse("bus= is virtio or ide");
        disk.ide = value == "ide";
    } else {
        refuse("'" + key + "=' is not known: format= serial= queues= aio= bus=");
    }
}

void set_word(DiskOptions &disk, const std::string &word) {
    if (const auto equals = word.find('='); equals != std::string::npos)
        return set_value(disk, word.substr(0, equals), word.substr(equals + 1));
    if (disk.access != DiskOptions::Access::write) refuse("either ro or cow");
    if (word == "ro")
        disk.access = DiskOptions::Access::read_only;
    else if (word == "cow")
        disk.access = DiskOptions::Access::overlay;
    else
        refuse("'" + word + "' is not known: ro, cow, format= serial= queues= aio= bus=");
}

} // namespace

DiskOptions parse_disk(const std::string &text) {
    DiskOptions disk;
    std::size_t comma = text.find(',');
    disk.path = text.substr(0, comma);
    if (disk.path.empty()) refuse("a file is missing");
    while (comma != std::string::npos) {
        const std::size_t start = comma + 1;
        comma = text.find(',', start);
        set_word(disk, text.substr(start, comma == std::string::npos ? comma : comma - start));
    }
    if (is_nbd_uri(disk.path) && !disk.format.empty())
        refuse("what an NBD server gives has no format=");
    return disk;
}

std::unique_ptr<Disk> open_disk(const DiskOptions &options) {
    const bool read_only = options.access != DiskOptions::Access::write;
    std::unique_ptr<Disk> disk;
    if (is_nbd_uri(options.path))
        disk = open_nbd(options.path, read_only);
    else if (is_image_format(options.format))
        disk = open_image(options.path, options.format, read_only);
    else
        disk = open_raw(options);
    if (options.access != DiskOptions::Access::overlay) return disk;
    return make_overlay(std::move(disk));
}

} // namespace machine::storage
