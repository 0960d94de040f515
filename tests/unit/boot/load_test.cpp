// SPDX-License-Identifier: GPL-2.0-only
#include "boot/load.hpp"

#include <filesystem>
#include <fstream>

#include <zlib.h>

#include "boot/gzip.hpp"

#include "fixture.hpp"

namespace boot_test {
namespace {

Bytes bytes_of(std::initializer_list<unsigned> values) {
    Bytes bytes;
    for (const auto value : values)
        bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

std::string refusal(const Bytes &image) {
    return error_of([&] {
        Ram ram(2 * mib);
        boot::load_image(*ram, image, {}, "file");
    });
}

TEST(Load, NamesWhatIsNoKernel) {
    EXPECT_TRUE(says(refusal({}), "file: not a kernel: the file is empty"));
    EXPECT_TRUE(says(refusal(bytes_of({0x1f, 0x8b, 8, 0})), "compressed (gzip)"));
    EXPECT_TRUE(says(refusal(bytes_of({0x28, 0xb5, 0x2f, 0xfd})), "compressed (zstd)"));
    EXPECT_TRUE(says(refusal(bytes_of({0xfd, '7', 'z', 'X', 'Z', 0})), "compressed (xz)"));
    EXPECT_TRUE(
        says(refusal(bytes_of({0x23, 0x21, 0x2f})), "file: not a kernel: first bytes 23 21 2f"));
}

TEST(Load, NamesTheFileThatCannotBeRead) {
    Ram ram(2 * mib);
    boot::Request request;
    request.kernel = "/nonexistent/vmlinuz";
    EXPECT_EQ(error_of([&] { boot::load(*ram, request); }),
              "/nonexistent/vmlinuz: No such file or directory");
    request.kernel = "/tmp";
    EXPECT_EQ(error_of([&] { boot::load(*ram, request); }), "/tmp: is a directory");
}

TEST(Load, ReadsFilesAndHonoursFlat) {
    char name[] = "/tmp/hwv-load-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    const auto path = std::string{name} + "/image";
    std::ofstream{path} << "\xf4\xeb\xfd";
    Ram ram(2 * mib);
    boot::Request request;
    request.kernel = path;
    EXPECT_TRUE(says(error_of([&] { boot::load(*ram, request); }), path + ": not a kernel"));
    request.flat = boot::parse_flat("0x7c00");
    const auto entry = boot::load(*ram, request);
    EXPECT_EQ(entry.rip, 0x7c00U);
    EXPECT_EQ(ram->get<std::uint8_t>(0x7c00), 0xf4);
    std::filesystem::remove_all(name);
}

Bytes gzipped(const std::string &text) {
    Bytes out(text.size() + 64);
    z_stream stream{};
    EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef *>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

TEST(Gzip, GivesBackWhatWasPacked) {
    for (const std::size_t size : {0, 1, 5, 65536, 65537, 1'000'000}) {
        std::string text(size, 'a');
        for (std::size_t i = 0; i < size; i += 7)
            text[i] = static_cast<char>(i * i >> 3);
        Bytes file = gzipped(text);
        ASSERT_TRUE(boot::is_gzip(file));
        file.resize(file.size() + 10); // whatever is behind it
        const Bytes out = boot::gunzip(file);
        EXPECT_EQ(std::string(reinterpret_cast<const char *>(out.data()), out.size()), text);
    }
}

TEST(Gzip, RefusesWhatIsDamagedOrTooMuch) {
    const Bytes good = gzipped(std::string(200'000, 'x'));
    EXPECT_TRUE(says(error_of([&] { boot::gunzip(good, 199'999); }), "more than"));
    EXPECT_EQ(boot::gunzip(good, 200'000).size(), 200'000U);
    for (std::size_t size = 2; size < good.size(); size += 3)
        EXPECT_TRUE(says(error_of([&] {
                             boot::gunzip({good.data(), size});
                         }),
                         "compressed (gzip), and"))
            << size;
    Bytes bad = good;
    bad[good.size() - 6] ^= std::byte{0x55}; // of its CRC
    EXPECT_TRUE(says(error_of([&] { boot::gunzip(bad); }), "damaged"));
}

TEST(Flat, ParsesItsOption) {
    EXPECT_EQ(boot::parse_flat("4096").address, 4096U);
    EXPECT_EQ(boot::parse_flat("0x7c00,real").mode, boot::Mode::real);
    EXPECT_EQ(boot::parse_flat("0x100000,prot").mode, boot::Mode::protected32);
    EXPECT_EQ(boot::parse_flat("0x100000,long").mode, boot::Mode::long64);
    for (const auto *bad :
         {"", "0x", "x", "0x1000,", "0x1000,32", "-1", "0x10000000000000000", "1 "})
        EXPECT_TRUE(says(error_of([&] { boot::parse_flat(bad); }), "wants ADDR")) << bad;
}

TEST(Flat, RealModeSplitsTheAddress) {
    Ram ram(2 * mib);
    auto entry = boot::load_flat(*ram, bytes_of({0xf4}), {0xf'fff0, boot::Mode::real});
    EXPECT_EQ(entry.cs.selector, 0xf000);
    EXPECT_EQ(entry.cs.base, 0xf'0000U);
    EXPECT_EQ(entry.rip, 0xfff0U);
    EXPECT_EQ(entry.cs.limit, 0xffffU);
    EXPECT_EQ(entry.cs.attributes(), 0x9b);
    EXPECT_EQ(entry.ds.attributes(), 0x93);
    EXPECT_EQ(entry.cr0 & 1, 0U);
    EXPECT_EQ(entry.ss.base + entry.gpr[boot::rsp], 0x9'f000U);
    EXPECT_EQ(entry.ss.base, std::uint64_t{entry.ss.selector} << 4);
    entry = boot::load_flat(*ram, bytes_of({0xf4}), {0x7c00, boot::Mode::real});
    EXPECT_EQ(entry.cs.selector, 0);
    EXPECT_EQ(entry.rip, 0x7c00U);
}

TEST(Flat, KeepsTablesAndStackOffTheImage) {
    for (const auto mode : {boot::Mode::protected32, boot::Mode::long64}) {
        Ram ram(64 * 1024);
        const auto image = pattern(0x4000, 1);
        const auto entry = boot::load_flat(*ram, image, {0x1000, mode});
        Bytes loaded(image.size());
        ram->read(0x1000, loaded);
        EXPECT_EQ(loaded, image) << "the tables were written over the image";
        EXPECT_EQ(entry.rip, 0x1000U);
        EXPECT_EQ(entry.gdt.base, 0x5000U);
        EXPECT_LE(entry.gpr[boot::rsp], 0x1000U);
    }
    Ram ram(2 * mib);
    EXPECT_EQ(boot::load_flat(*ram, bytes_of({0xf4}), {mib, boot::Mode::long64}).gdt.base, 0x1000U);
}

TEST(Flat, SaysWhatIsWrong) {
    const auto load = [](std::uint64_t address, boot::Mode mode, std::size_t size) {
        return error_of([&] {
            Ram ram(64 * 1024);
            boot::load_flat(*ram, Bytes(size), {address, mode});
        });
    };
    EXPECT_TRUE(says(load(0x1000, boot::Mode::real, 0), "flat image is empty"));
    EXPECT_TRUE(says(load(mib, boot::Mode::real, 1), "real mode starts below 1 MiB"));
    EXPECT_TRUE(says(load(1ULL << 32, boot::Mode::long64, 1), "below 4 GiB"));
    EXPECT_TRUE(
        says(load(0xf000, boot::Mode::real, 0x1001), "needs 1 MiB at 0xf000, guest has 1 MiB"));
    EXPECT_TRUE(says(load(0x1000, boot::Mode::long64, 0xa000), "no room for page tables"));
}

} // namespace
} // namespace boot_test
