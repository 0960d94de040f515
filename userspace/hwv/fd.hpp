// SPDX-License-Identifier: GPL-2.0-only
// fd.hpp - owners of a file descriptor and of a mapping.
#pragma once
#include <cstddef>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace hwv {

class Fd {
  public:
    Fd() = default;
    explicit Fd(int fd) : fd_{fd} {}
    Fd(Fd &&other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    Fd &operator=(Fd &&other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Fd() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }

  private:
    int fd_ = -1;
};

class Mapping {
  public:
    Mapping() = default;
    Mapping(void *address, std::size_t bytes) : address_{address}, bytes_{bytes} {}
    Mapping(Mapping &&other) noexcept
        : address_{std::exchange(other.address_, nullptr)},
          bytes_{std::exchange(other.bytes_, 0)} {}
    Mapping &operator=(Mapping &&other) noexcept {
        std::swap(address_, other.address_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~Mapping() {
        if (address_) ::munmap(address_, bytes_);
    }
    void *data() const { return address_; }
    std::size_t size() const { return bytes_; }

  private:
    void *address_ = nullptr;
    std::size_t bytes_ = 0;
};

} // namespace hwv
