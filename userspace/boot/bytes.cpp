// SPDX-License-Identifier: GPL-2.0-only
#include "boot/bytes.hpp"

#include <cerrno>
#include <cstdio>
#include <memory>

#include <sys/stat.h>

namespace boot {

std::string hex(std::uint64_t value) {
    char text[19];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

std::string mib(std::uint64_t bytes) {
    constexpr std::uint64_t one = 1024 * 1024;
    return std::to_string(bytes / one + (bytes % one != 0)) + " MiB";
}

Bytes read_file(const std::string &path) {
    std::unique_ptr<std::FILE, int (*)(std::FILE *)> file{std::fopen(path.c_str(), "rb"),
                                                          std::fclose};
    if (!file) throw Error(path + ": " + std::strerror(errno));
    struct stat status {};
    if (fstat(fileno(file.get()), &status) == 0 && S_ISDIR(status.st_mode))
        throw Error(path + ": is a directory");
    // One more than a file has, so that its end shows at once; a pipe says no size.
    const std::size_t piece =
        status.st_size > 0 ? static_cast<std::size_t>(status.st_size) + 1 : 1024 * 1024;
    Bytes bytes;
    while (std::feof(file.get()) == 0 && std::ferror(file.get()) == 0) {
        const auto old = bytes.size();
        bytes.resize(old + piece);
        bytes.resize(old + std::fread(bytes.data() + old, 1, piece, file.get()));
    }
    if (std::ferror(file.get()) != 0) throw Error(path + ": " + std::strerror(errno));
    return bytes;
}

} // namespace boot
