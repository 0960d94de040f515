// SPDX-License-Identifier: GPL-2.0-only
// The bytes of a disk, wherever the host keeps them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <sys/uio.h>

namespace machine::storage {

constexpr std::uint64_t sector = 512;

// Calls come from any number of threads at once. They return 0 or an errno, and transfer all or
// fail. Ranges lie inside the disk.
class Disk {
  public:
    virtual ~Disk() = default;
    virtual std::uint64_t bytes() const = 0; // a multiple of `sector`
    virtual bool read_only() const = 0;
    virtual int read(std::span<const iovec> to, std::uint64_t offset) noexcept = 0;
    virtual int write(std::span<const iovec> from, std::uint64_t offset) noexcept = 0;
    virtual int flush() noexcept = 0;
    // What is there afterwards is undefined.
    virtual int discard(std::uint64_t offset, std::uint64_t length) noexcept = 0;
    virtual int write_zeroes(std::uint64_t offset, std::uint64_t length, bool unmap) noexcept = 0;
    // A file that has exactly these bytes, so that reads and writes may go there asynchronously;
    // -1: there is none.
    virtual int file() const { return -1; }
};

struct DiskOptions {
    enum class Access : std::uint8_t { write, read_only, overlay };
    std::string path;   // or the URI of an NBD server
    std::string format; // empty: raw, where the file looks like nothing else
    Access access = Access::write;
    std::string serial; // at most 20 bytes
    unsigned queues = 1;
    bool io_uring = true;
    bool ide = false; // else virtio
};

// "FILE[,ro|cow][,format=raw|qcow2|...][,serial=TEXT][,queues=N][,aio=uring|threads]
// [,bus=virtio|ide]". Throws
// std::invalid_argument.
DiskOptions parse_disk(const std::string &text);

// Locks the file against other openers of this kind: one writer, or any number of readers. Throws
// std::runtime_error that says what is wrong.
std::unique_ptr<Disk> open_disk(const DiskOptions &options);
std::unique_ptr<Disk> open_raw(const DiskOptions &options);

// Reads of `base`; what is written goes to a file of its own that nobody else sees and that is gone
// with the disk. Throws std::system_error.
std::unique_ptr<Disk> make_overlay(std::unique_ptr<Disk> base);

} // namespace machine::storage
