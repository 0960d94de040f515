// SPDX-License-Identifier: GPL-2.0-only
// nbd.cpp - disks by the NBD protocol, through libnbd.
#include "machine/storage/nbd.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <unistd.h>
#include <vector>

#include <libnbd.h>

#include "machine/library.hpp"
#include "machine/storage/transfer.hpp"

namespace machine::storage {

namespace {

// What every server takes in one request (NBD protocol, "Block size constraints").
constexpr std::size_t largest_request = 32u << 20;
constexpr std::array formats = {"qcow2", "qcow", "qed", "vdi", "vhdx", "vmdk", "vpc"};
constexpr const char *server = "qemu-nbd";

// What is used of libnbd.
struct Nbd {
    Library library{"libnbd.so.0", "--disk by NBD or with a format=", "libnbd0"};
    decltype(&::nbd_create) create = library["nbd_create"];
    decltype(&::nbd_close) close = library["nbd_close"];
    decltype(&::nbd_aio_disconnect) disconnect = library["nbd_aio_disconnect"];
    decltype(&::nbd_aio_is_closed) is_closed = library["nbd_aio_is_closed"];
    decltype(&::nbd_kill_subprocess) kill_child = library["nbd_kill_subprocess"];
    decltype(&::nbd_connect_uri) connect_uri = library["nbd_connect_uri"];
    decltype(&::nbd_connect_systemd_socket_activation) start_server =
        library["nbd_connect_systemd_socket_activation"];
    decltype(&::nbd_get_error) get_error = library["nbd_get_error"];
    decltype(&::nbd_get_errno) get_errno = library["nbd_get_errno"];
    decltype(&::nbd_get_size) get_size = library["nbd_get_size"];
    decltype(&::nbd_is_read_only) is_read_only = library["nbd_is_read_only"];
    decltype(&::nbd_can_flush) can_flush = library["nbd_can_flush"];
    decltype(&::nbd_can_trim) can_trim = library["nbd_can_trim"];
    decltype(&::nbd_can_zero) can_zero = library["nbd_can_zero"];
    decltype(&::nbd_aio_pread) aio_pread = library["nbd_aio_pread"];
    decltype(&::nbd_aio_pwrite) aio_pwrite = library["nbd_aio_pwrite"];
    decltype(&::nbd_aio_command_completed) completed = library["nbd_aio_command_completed"];
    decltype(&::nbd_poll) poll = library["nbd_poll"];
    decltype(&::nbd_aio_flush) aio_flush = library["nbd_aio_flush"];
    decltype(&::nbd_aio_trim) aio_trim = library["nbd_aio_trim"];
    decltype(&::nbd_aio_zero) aio_zero = library["nbd_aio_zero"];
};

// One connection, on which the pieces of a request are under way together, and one request at a
// time.
class NbdDisk final : public Disk {
  public:
    NbdDisk(std::string name, std::chrono::milliseconds patience)
        : name_(std::move(name)),
          handle_(nbd_.create()),
          patience_ms_(static_cast<int>(patience.count())) {
        if (handle_ == nullptr) refuse();
    }
    ~NbdDisk() override {
        if (!silent_ && nbd_.disconnect(handle_, 0) == 0)
            while (nbd_.is_closed(handle_) == 0 && moves())
                ;
        if (silent_) nbd_.kill_child(handle_, SIGKILL);
        nbd_.close(handle_); // and waits for the child's end
    }
    NbdDisk(const NbdDisk &) = delete;
    NbdDisk &operator=(const NbdDisk &) = delete;

    void connect(const std::string &uri) {
        if (nbd_.connect_uri(handle_, uri.c_str()) != 0) refuse();
    }
    void start(std::vector<std::string> words) {
        std::vector<char *> arguments;
        for (std::string &word : words)
            arguments.push_back(word.data());
        arguments.push_back(nullptr);
        if (nbd_.start_server(handle_, arguments.data()) != 0) refuse();
    }
    void use(bool read_only);

    std::uint64_t bytes() const override { return bytes_; }
    bool read_only() const override { return read_only_; }
    int read(std::span<const iovec> to, std::uint64_t offset) noexcept override {
        return move(to, offset, [this](void *at, std::size_t count, std::uint64_t from) {
            return nbd_.aio_pread(handle_, at, count, from, NBD_NULL_COMPLETION, 0);
        });
    }
    int write(std::span<const iovec> from, std::uint64_t offset) noexcept override {
        if (read_only_) return EBADF;
        return move(from, offset, [this](void *at, std::size_t count, std::uint64_t to) {
            return nbd_.aio_pwrite(handle_, at, count, to, NBD_NULL_COMPLETION, 0);
        });
    }
    int flush() noexcept override {
        if (!can_flush_) return 0;
        return ask([this] { return nbd_.aio_flush(handle_, NBD_NULL_COMPLETION, 0); });
    }
    int discard(std::uint64_t offset, std::uint64_t length) noexcept override {
        if (!can_trim_) return 0;
        return ask(
            [=, this] { return nbd_.aio_trim(handle_, length, offset, NBD_NULL_COMPLETION, 0); });
    }
    int write_zeroes(std::uint64_t offset, std::uint64_t length, bool unmap) noexcept override {
        if (!can_zero_) return fill_with_zeroes(*this, offset, length);
        const std::uint32_t flags = unmap ? 0 : std::uint32_t{LIBNBD_CMD_FLAG_NO_HOLE};
        return ask([=, this] {
            return nbd_.aio_zero(handle_, length, offset, NBD_NULL_COMPLETION, flags);
        });
    }

  private:
    [[noreturn]] void refuse() const { refuse(nbd_.get_error()); }
    [[noreturn]] void refuse(const std::string &why) const {
        throw std::runtime_error("disk '" + name_ + "': " + why);
    }
    int last_error() const noexcept {
        const int error = nbd_.get_errno();
        return error != 0 ? error : EIO;
    }
    template <typename Begin>
    int ask(Begin begin) noexcept {
        const std::lock_guard guard(lock_);
        if (silent_) return EIO;
        const std::int64_t cookie = begin();
        return cookie < 0 ? last_error() : wait_for(static_cast<std::uint64_t>(cookie));
    }
    template <typename Begin>
    int move(std::span<const iovec> segments, std::uint64_t offset, Begin begin) noexcept;
    int wait_for(std::uint64_t cookie) noexcept;
    bool moves() noexcept;

    const Nbd nbd_;
    const std::string name_;
    nbd_handle *const handle_;
    const int patience_ms_;
    std::mutex lock_; // a request's
    // Nothing came for too long. The pieces of the guest's memory that are under way stay so: none
    // of them moves unless the library is called.
    bool silent_ = false;
    std::uint64_t bytes_ = 0;
    bool read_only_ = false, can_flush_ = false, can_trim_ = false, can_zero_ = false;
};

void NbdDisk::use(bool read_only) {
    const std::int64_t size = nbd_.get_size(handle_);
    if (size < 0) refuse();
    if (size == 0 || static_cast<std::uint64_t>(size) % sector != 0)
        refuse("its size is " + std::to_string(size) + ", not a multiple of 512");
    if (!read_only && nbd_.is_read_only(handle_) != 0)
        refuse("the server lets nobody write; say ro or cow");
    bytes_ = static_cast<std::uint64_t>(size);
    read_only_ = read_only;
    can_flush_ = nbd_.can_flush(handle_) > 0;
    can_trim_ = nbd_.can_trim(handle_) > 0;
    can_zero_ = nbd_.can_zero(handle_) > 0;
}

// False: there is nothing more to wait for.
bool NbdDisk::moves() noexcept {
    const int moved = nbd_.poll(handle_, patience_ms_);
    silent_ = moved == 0;
    return moved > 0;
}

int NbdDisk::wait_for(std::uint64_t cookie) noexcept {
    while (!silent_) {
        const int done = nbd_.completed(handle_, cookie);
        if (done != 0) return done > 0 ? 0 : last_error();
        // A connection that is gone completes all that was under way, with errors.
        if (!moves() && !silent_ && nbd_.completed(handle_, cookie) == 0) return EIO;
    }
    return ETIMEDOUT;
}

// The guest's memory belongs to the pieces until the last one is done, whatever became of the
// first.
template <typename Begin>
int NbdDisk::move(std::span<const iovec> segments, std::uint64_t offset, Begin begin) noexcept {
    const std::lock_guard guard(lock_);
    if (silent_) return EIO;
    std::array<std::uint64_t, 64> cookies; // the written ones
    std::size_t under_way = 0;
    int error = 0;
    const auto wait_for_all = [&] {
        for (std::size_t i = 0; i < under_way; ++i)
            if (const int one = wait_for(cookies[i]); one != 0) error = one;
        under_way = 0;
    };
    for (const iovec &segment : segments)
        for (std::size_t done = 0; error == 0 && done < segment.iov_len;) {
            const std::size_t piece = std::min(segment.iov_len - done, largest_request);
            const std::int64_t cookie =
                begin(static_cast<char *>(segment.iov_base) + done, piece, offset);
            if (cookie < 0) {
                error = last_error();
                break;
            }
            cookies[under_way++] = static_cast<std::uint64_t>(cookie);
            done += piece;
            offset += piece;
            if (under_way == cookies.size()) wait_for_all();
        }
    wait_for_all();
    return error;
}

bool in_path(const char *program) {
    const char *path = std::getenv("PATH");
    std::string_view rest = path != nullptr ? path : "";
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find(':'), rest.size());
        const auto file = std::filesystem::path(rest.substr(0, end)) / program;
        if (::access(file.c_str(), X_OK) == 0) return true;
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return false;
}

} // namespace

bool is_nbd_uri(const std::string &path) {
    return path.starts_with("nbd://") || path.starts_with("nbds://") || path.starts_with("nbd+") ||
           path.starts_with("nbds+");
}

bool is_image_format(const std::string &format) {
    return std::find(formats.begin(), formats.end(), format) != formats.end();
}

std::unique_ptr<Disk> open_nbd(const std::string &uri, bool read_only,
                               std::chrono::milliseconds patience) {
    auto disk = std::make_unique<NbdDisk>(uri, patience);
    disk->connect(uri);
    disk->use(read_only);
    return disk;
}

// Its name is given as a file's, so that no part of it is taken for a protocol.
std::unique_ptr<Disk> open_image(const std::string &path, const std::string &format, bool read_only,
                                 std::chrono::milliseconds patience) {
    const auto refuse = [&](const std::string &why) {
        throw std::runtime_error("disk '" + path + "': " + why);
    };
    if (::access(path.c_str(), read_only ? R_OK : R_OK | W_OK) != 0)
        refuse(std::system_category().message(errno));
    if (!in_path(server))
        refuse("format=" + format + " wants qemu-nbd, of Debian's package qemu-utils");
    auto disk = std::make_unique<NbdDisk>(path, patience);
    std::vector<std::string> words{server, "--discard=unmap", "--image-opts",
                                   "driver=" + format + ",file.driver=file,file.filename=" + path};
    if (read_only) words.insert(words.begin() + 1, "--read-only");
    disk->start(std::move(words));
    disk->use(read_only);
    return disk;
}

} // namespace machine::storage
