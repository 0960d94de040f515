// SPDX-License-Identifier: GPL-2.0-only
#include "boot/image.hpp"

#include <array>
#include <cstdio>
#include <utility>

#include "boot/bzimage.hpp"
#include "boot/multiboot.hpp"
#include "boot/multiboot2.hpp"
#include "boot/pvh.hpp"

namespace boot {
namespace {

struct Magic {
    std::string_view bytes;
    const char *name;
};

constexpr std::array packed{
    Magic{"\x1f\x8b", "gzip"},
    Magic{"\x28\xb5\x2f\xfd", "zstd"},
    Magic{"\xfd"
          "7zXZ",
          "xz"},
    Magic{"BZh", "bzip2"},
    Magic{"\x02\x21\x4c\x18", "lz4"},
    Magic{"\x5d\x00\x00", "lzma"},
};

bool starts_with(ByteView image, std::string_view magic) {
    return image.size() >= magic.size() &&
           std::memcmp(image.data(), magic.data(), magic.size()) == 0;
}

} // namespace

ImageKind identify(ByteView image) {
    if (is_bzimage(image)) return ImageKind::bzimage;
    if (is_multiboot2(image)) return ImageKind::multiboot2;
    if (is_pvh(image)) return ImageKind::pvh;
    if (is_multiboot(image)) return ImageKind::multiboot;
    return ImageKind::unknown;
}

std::optional<ImageKind> kind_named(std::string_view name) {
    constexpr std::array names{std::pair{"linux", ImageKind::bzimage},
                               std::pair{"pvh", ImageKind::pvh},
                               std::pair{"multiboot", ImageKind::multiboot},
                               std::pair{"multiboot2", ImageKind::multiboot2}};
    for (const auto &[text, kind] : names)
        if (name == text) return kind;
    return std::nullopt;
}

std::string describe_unknown(ByteView image) {
    if (image.empty()) return "not a kernel: the file is empty";
    for (const auto &magic : packed)
        if (starts_with(image, magic.bytes))
            return std::string{"compressed ("} + magic.name + "): unpack it first";
    if (starts_with(image, "\x7f"
                           "ELF"))
        return "ELF without a PVH note or a multiboot header: not a kernel that can be started";
    std::string text = "not a kernel: first bytes";
    for (std::size_t i = 0; i < image.size() && i < 8; ++i) {
        char byte[4];
        std::snprintf(byte, sizeof byte, " %02x", std::to_integer<unsigned>(image[i]));
        text += byte;
    }
    return text +
           " (bzImage, PVH and multiboot are known by themselves; flat binaries need --flat)";
}

} // namespace boot
