// SPDX-License-Identifier: GPL-2.0-only
// overlay.cpp - copy on write: blocks that were written lie in a file without a name.
#include <array>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <mutex>
#include <sys/mman.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include "machine/bytes.hpp"
#include "machine/event_loop.hpp"
#include "machine/storage/disk.hpp"
#include "machine/storage/transfer.hpp"

namespace machine::storage {

namespace {

constexpr std::uint64_t block = 4096;

Fd nameless_file() {
    const char *where = std::getenv("TMPDIR");
    int file = ::open(where != nullptr ? where : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file < 0) file = memfd_create("overlay", MFD_CLOEXEC);
    if (file < 0) throw std::system_error(errno, std::generic_category(), "overlay of a disk");
    return Fd(file);
}

class Overlay final : public Disk {
  public:
    explicit Overlay(std::unique_ptr<Disk> base)
        : base_(std::move(base)),
          file_(nameless_file()),
          written_((base_->bytes() + block - 1) / block, false) {
        if (ftruncate(file_.get(), static_cast<off_t>(align_up(base_->bytes(), block))) != 0)
            throw std::system_error(errno, std::generic_category(), "overlay of a disk");
    }
    std::uint64_t bytes() const override { return base_->bytes(); }
    bool read_only() const override { return false; }
    int read(std::span<const iovec> to, std::uint64_t offset) noexcept override {
        return in_blocks(to, offset, [this](const iovec &piece, std::uint64_t at) {
            if (!written_[at / block]) return base_->read({&piece, 1}, at);
            return transfer(preadv, file_.get(), {&piece, 1}, at);
        });
    }
    int write(std::span<const iovec> from, std::uint64_t offset) noexcept override {
        return in_blocks(from, offset, [this](const iovec &piece, std::uint64_t at) {
            if (!written_[at / block] && piece.iov_len != block)
                if (const int error = copy_block(at / block * block); error != 0) return error;
            const int error = transfer(pwritev, file_.get(), {&piece, 1}, at);
            if (error == 0) written_[at / block] = true;
            return error;
        });
    }
    int flush() noexcept override { return 0; } // nobody will ever ask for it again
    int discard(std::uint64_t, std::uint64_t) noexcept override { return 0; }
    int write_zeroes(std::uint64_t offset, std::uint64_t length, bool) noexcept override {
        return fill_with_zeroes(*this, offset, length);
    }

  private:
    // Pieces that do not leave a block, one after the other.
    template <typename Each>
    int in_blocks(std::span<const iovec> segments, std::uint64_t offset, Each each) noexcept {
        const std::lock_guard guard(lock_);
        for (iovec rest : segments)
            while (rest.iov_len != 0) {
                const iovec piece{rest.iov_base,
                                  std::min<std::uint64_t>(rest.iov_len, block - offset % block)};
                if (const int error = each(piece, offset); error != 0) return error;
                offset += piece.iov_len;
                rest.iov_base = static_cast<char *>(rest.iov_base) + piece.iov_len;
                rest.iov_len -= piece.iov_len;
            }
        return 0;
    }
    int copy_block(std::uint64_t at) noexcept {
        const iovec all{buffer_.data(), std::min(block, base_->bytes() - at)};
        const int error = base_->read({&all, 1}, at);
        return error != 0 ? error : transfer(pwritev, file_.get(), {&all, 1}, at);
    }

    std::unique_ptr<Disk> base_;
    Fd file_;
    std::mutex lock_;
    std::vector<bool> written_;
    std::array<std::byte, block> buffer_{};
};

} // namespace

std::unique_ptr<Disk> make_overlay(std::unique_ptr<Disk> base) {
    return std::make_unique<Overlay>(std::move(base));
}

} // namespace machine::storage
