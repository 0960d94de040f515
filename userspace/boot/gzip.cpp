// SPDX-License-Identifier: GPL-2.0-only
#include "boot/gzip.hpp"

#include <algorithm>

#define ZLIB_CONST
#include <zlib.h>

namespace boot {
namespace {

class Inflation {
  public:
    explicit Inflation(ByteView file) {
        constexpr int gzip_only = 16 + MAX_WBITS;
        if (inflateInit2(&stream_, gzip_only) != Z_OK) throw Error("gzip: no memory");
        stream_.next_in = reinterpret_cast<const Bytef *>(file.data());
        stream_.avail_in = static_cast<uInt>(file.size());
    }
    ~Inflation() { inflateEnd(&stream_); }
    Inflation(const Inflation &) = delete;
    Inflation &operator=(const Inflation &) = delete;

    // True when all is unpacked.
    bool go_on(std::span<std::byte> room) {
        stream_.next_out = reinterpret_cast<Bytef *>(room.data());
        stream_.avail_out = static_cast<uInt>(room.size());
        const int result = inflate(&stream_, Z_NO_FLUSH);
        if (result == Z_STREAM_END) return true;
        if (result == Z_OK && stream_.avail_out == 0) return false;
        throw Error(std::string{"compressed (gzip), and "} +
                    (result == Z_OK || result == Z_BUF_ERROR ? "cut off" : "damaged"));
    }
    std::size_t unpacked() const { return stream_.total_out; }

  private:
    z_stream stream_{};
};

} // namespace

bool is_gzip(ByteView file) { return file.size() >= 2 && get<std::uint16_t>(file, 0) == 0x8b1f; }

Bytes gunzip(ByteView file, std::size_t most) {
    constexpr std::size_t room_at_first = 64 << 10;
    if (file.size() > most) throw Error("compressed (gzip), and too large: " + mib(file.size()));
    Inflation inflation{file};
    Bytes out;
    bool done = false;
    while (!done) {
        if (out.size() == most) throw Error("compressed (gzip), and more than " + mib(most));
        out.resize(std::min(most, std::max(room_at_first, 2 * out.size())));
        done = inflation.go_on(std::span{out}.subspan(inflation.unpacked()));
    }
    out.resize(inflation.unpacked());
    return out;
}

} // namespace boot
