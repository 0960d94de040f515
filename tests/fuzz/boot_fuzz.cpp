// SPDX-License-Identifier: GPL-2.0-only
// Any bytes as a kernel image: the loaders load it or refuse it in one line, and write nowhere but
// into guest memory.
#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "boot/gzip.hpp"
#include "boot/load.hpp"

namespace {

// Just enough of each format to get past its recognition; the input decides over the rest.
void make_bzimage(std::span<std::byte> image) {
    boot::put(image, 0x1fe, std::uint16_t{0xaa55});
    boot::put(image, 0x202, std::uint32_t{0x5372'6448});
    boot::put(image, 0x206, std::uint16_t{0x20f});
}

void make_multiboot(std::span<std::byte> image) {
    const auto flags = boot::get<std::uint32_t>(image, 0x304);
    boot::put(image, 0x300, std::uint32_t{0x1bad'b002});
    boot::put(image, 0x308, static_cast<std::uint32_t>(0U - 0x1bad'b002U - flags));
}

void make_multiboot2(std::span<std::byte> image) {
    const auto length = boot::get<std::uint16_t>(image, 0x308);
    boot::put(image, 0x300, std::uint32_t{0xe852'50d6});
    boot::put(image, 0x304, std::uint32_t{0});
    boot::put(image, 0x308, std::uint32_t{length});
    boot::put(image, 0x30c, static_cast<std::uint32_t>(0U - 0xe852'50d6U - length));
}

void make_elf(std::span<std::byte> image, bool is64) {
    boot::put(image, 0, std::uint32_t{0x464c'457f});
    boot::put(image, 4, static_cast<std::uint8_t>(is64 ? 2 : 1));
    boot::put(image, 5, std::uint8_t{1});
    boot::put(image, 18, static_cast<std::uint16_t>(is64 ? 62 : 3));
    boot::put(image, is64 ? 54 : 42, static_cast<std::uint16_t>(is64 ? 56 : 32));
    image[is64 ? 57 : 45] = std::byte{}; // fewer than 256 program headers
}

// The input as it is, or with a format's marks put over it.
std::vector<std::byte> make_image(std::span<const std::uint8_t> data) {
    const auto bytes = std::as_bytes(data);
    std::vector<std::byte> image(bytes.begin(), bytes.end());
    if (data.size() < 0x400) return image;
    switch (data[0] & 7) {
    case 1: make_bzimage(image); break;
    case 2: make_multiboot(image); break;
    case 3:
        make_elf(image, false);
        make_multiboot(image);
        break;
    case 4: make_elf(image, true); break;
    case 5: make_multiboot2(image); break;
    case 6:
        make_elf(image, (data[1] & 1) != 0);
        make_multiboot2(image);
        break;
    default: break;
    }
    return image;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    static std::vector<std::byte> ram(4 * 1024 * 1024);
    static std::vector<std::byte> high(64 * 1024);
    machine::GuestMemory memory{std::vector<machine::RamRegion>{{0, ram}, {0x1'0000'0000, high}}};
    const boot::Payload payload{"console=ttyS0", {{boot::Bytes(5000), "initrd"}}, 0xe'0000};
    const auto image = make_image({data, size});
    // Now and then as another kind than it is: --boot.
    std::optional<boot::ImageKind> kind;
    if (size > 0 && (data[0] & 0xe0) == 0) kind = static_cast<boot::ImageKind>(data[0] >> 3 & 3);
    if (kind == boot::ImageKind::unknown) kind = boot::ImageKind::multiboot2;
    try {
        if (boot::is_gzip(image)) boot::gunzip(image, ram.size());
        boot::load_image(memory, image, payload, "image", kind);
    } catch (const boot::Error &error) {
        const std::string text{error.what()};
        if (text.empty() || text.find('\n') != std::string::npos) std::abort();
    }
    return 0;
}
