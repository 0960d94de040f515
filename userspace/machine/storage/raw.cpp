// SPDX-License-Identifier: GPL-2.0-only
// raw.cpp - disks that are files or block devices of the host.
#include <array>
#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <stdexcept>
#include <string_view>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "machine/event_loop.hpp"
#include "machine/storage/disk.hpp"
#include "machine/storage/transfer.hpp"

namespace machine::storage {

namespace {

class RawDisk final : public Disk {
  public:
    RawDisk(Fd file, std::uint64_t bytes, bool read_only)
        : file_(std::move(file)), bytes_(bytes), read_only_(read_only) {}
    std::uint64_t bytes() const override { return bytes_; }
    bool read_only() const override { return read_only_; }
    int file() const override { return file_.get(); }
    int read(std::span<const iovec> to, std::uint64_t offset) noexcept override {
        return transfer(preadv, file_.get(), to, offset);
    }
    int write(std::span<const iovec> from, std::uint64_t offset) noexcept override {
        return transfer(pwritev, file_.get(), from, offset);
    }
    int flush() noexcept override { return fdatasync(file_.get()) == 0 ? 0 : errno; }
    int discard(std::uint64_t offset, std::uint64_t length) noexcept override {
        // A hint: where holes cannot be made, nothing happens.
        const int error = allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
        return error == EOPNOTSUPP || error == ENODEV ? 0 : error;
    }
    int write_zeroes(std::uint64_t offset, std::uint64_t length, bool unmap) noexcept override {
        const int mode = unmap ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
                               : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
        return allocate(mode, offset, length) == 0 ? 0 : fill_with_zeroes(*this, offset, length);
    }

  private:
    int allocate(int mode, std::uint64_t offset, std::uint64_t length) const noexcept {
        const int done =
            fallocate(file_.get(), mode, static_cast<off_t>(offset), static_cast<off_t>(length));
        return done == 0 ? 0 : errno;
    }
    Fd file_;
    std::uint64_t bytes_;
    bool read_only_;
};

[[noreturn]] void refuse(const std::string &path, const std::string &why) {
    throw std::runtime_error("disk '" + path + "': " + why);
}

// A lock of the open file, which other opens of it see, those of this process too.
void lock(int file, const std::string &path, bool shared) {
    struct flock request {};
    request.l_type = static_cast<short>(shared ? F_RDLCK : F_WRLCK);
    request.l_whence = SEEK_SET;
    if (fcntl(file, F_OFD_SETLK, &request) == 0) return;
    if (errno == EAGAIN || errno == EACCES)
        refuse(path, shared ? "another one writes to it" : "it is in use");
    refuse(path, "cannot be locked: " + std::system_category().message(errno));
}

// A guest may write such a beginning into its raw disk: that what names other files of the host is
// taken for an image only by who says so.
void must_look_raw(int file, const std::string &path) {
    struct Magic {
        const char *format;
        off_t offset;
        std::string_view bytes;
    };
    static constexpr Magic magics[] = {
        {"qcow2", 0, "QFI\xfb"}, {"qed", 0, {"QED\0", 4}}, {"vmdk", 0, "KDMV"},
        {"vhdx", 0, "vhdxfile"}, {"vpc", 0, "conectix"},   {"vdi", 64, "\x7f\x10\xda\xbe"},
    };
    for (const Magic &magic : magics) {
        std::array<char, 8> start{};
        if (pread(file, start.data(), magic.bytes.size(), magic.offset) ==
                static_cast<ssize_t>(magic.bytes.size()) &&
            magic.bytes == std::string_view{start.data(), magic.bytes.size()})
            refuse(path, std::string{"it begins like an image: say format="} + magic.format +
                             ", or format=raw if these very bytes are the disk");
    }
}

} // namespace

int fill_with_zeroes(Disk &disk, std::uint64_t offset, std::uint64_t length) noexcept {
    static std::array<std::byte, 65536> zeroes{}; // never written, only not const for iovec's sake
    while (length != 0) {
        const std::uint64_t piece = std::min<std::uint64_t>(length, zeroes.size());
        const iovec segment{zeroes.data(), piece};
        if (const int error = disk.write({&segment, 1}, offset); error != 0) return error;
        offset += piece;
        length -= piece;
    }
    return 0;
}

std::unique_ptr<Disk> open_raw(const DiskOptions &options) {
    const bool read_only = options.access != DiskOptions::Access::write;
    Fd file(::open(options.path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
    if (!file) refuse(options.path, std::system_category().message(errno));
    struct stat about {};
    if (fstat(file.get(), &about) != 0 || !(S_ISREG(about.st_mode) || S_ISBLK(about.st_mode)))
        refuse(options.path, "is neither a file nor a block device");
    if (options.format.empty()) must_look_raw(file.get(), options.path);
    const off_t end = lseek(file.get(), 0, SEEK_END);
    if (end <= 0 || static_cast<std::uint64_t>(end) % sector != 0)
        refuse(options.path, "its size is " + std::to_string(end) + ", not a multiple of 512");
    lock(file.get(), options.path, read_only);
    return std::make_unique<RawDisk>(std::move(file), static_cast<std::uint64_t>(end), read_only);
}

} // namespace machine::storage
