// SPDX-License-Identifier: GPL-2.0-only
#include "boot/bzimage.hpp"

#include <algorithm>

#include "fixture.hpp"

namespace boot_test {
namespace {

constexpr std::size_t setup_bytes = 5 * 512;
constexpr std::size_t kernel_bytes = 0x3000;
constexpr std::uint64_t load_at = 16 * mib;

// What a kernel's build makes of the header fields, with everything after the setup code a pattern.
Bytes make_bzimage() {
    Bytes image(setup_bytes);
    put(image, 0x1f1, std::uint8_t{4});
    put(image, 0x1f4, std::uint32_t{kernel_bytes / 16});
    put(image, 0x1fe, std::uint16_t{0xaa55});
    put(image, 0x200, std::uint8_t{0xeb});
    put(image, 0x201, std::uint8_t{0x6a});
    put(image, 0x202, std::uint32_t{0x5372'6448});
    put(image, 0x206, std::uint16_t{0x20f});
    put(image, 0x211, std::uint8_t{1});
    put(image, 0x22c, std::uint32_t{0x7fff'ffff});
    put(image, 0x230, std::uint32_t{0x20'0000});
    put(image, 0x234, std::uint8_t{1});
    put(image, 0x236, std::uint16_t{0x3});
    put(image, 0x238, std::uint32_t{2047});
    put(image, 0x258, std::uint64_t{load_at});
    put(image, 0x260, std::uint32_t{8 * mib});
    put(image, 0x26a, std::uint16_t{0x5a5a}); // the last two bytes of the header
    const auto kernel = pattern(kernel_bytes, 3);
    image.insert(image.end(), kernel.begin(), kernel.end());
    return image;
}

boot::Payload payload_with(const std::string &line) { return {line, {}, 0xe'0000}; }

TEST(BzImage, IsRecognisedByItself) {
    EXPECT_EQ(boot::identify(make_bzimage()), boot::ImageKind::bzimage);
}

TEST(BzImage, EntersAt64BitsWithTheBootProtocolsState) {
    Ram ram(64 * mib);
    const auto image = make_bzimage();
    const auto entry = boot::load_image(*ram, image, payload_with("console=ttyS0"), "vmlinuz");
    EXPECT_EQ(entry.mode, boot::Mode::long64);
    EXPECT_EQ(entry.rip, load_at + 0x200);
    EXPECT_EQ(entry.rflags, 2U);
    EXPECT_EQ(entry.cs.selector, 0x10);
    EXPECT_TRUE(entry.cs.long_mode);
    EXPECT_FALSE(entry.cs.big);
    for (const auto &segment : {entry.ds, entry.es, entry.ss}) {
        EXPECT_EQ(segment.selector, 0x18);
        EXPECT_EQ(segment.limit, 0xffff'ffffU);
        EXPECT_EQ(segment.attributes(), 0xc93);
    }
    EXPECT_EQ(entry.cs.attributes(), 0xa9b);
    EXPECT_EQ(entry.cr0 & 0x8000'0001, 0x8000'0001U);
    EXPECT_EQ(entry.cr4, 0x20U);
    EXPECT_EQ(entry.efer, 0x500U);
    Bytes loaded(kernel_bytes);
    ram->read(load_at, loaded);
    EXPECT_EQ(loaded, Bytes(image.begin() + setup_bytes, image.end()));
}

TEST(BzImage, GdtInMemoryMatchesTheSegments) {
    Ram ram(64 * mib);
    const auto entry = boot::load_image(*ram, make_bzimage(), payload_with(""), "vmlinuz");
    EXPECT_EQ(ram->get<std::uint64_t>(entry.gdt.base + 0x10), 0x00af'9b00'0000'ffffU);
    EXPECT_EQ(ram->get<std::uint64_t>(entry.gdt.base + 0x18), 0x00cf'9300'0000'ffffU);
    EXPECT_EQ(ram->get<std::uint64_t>(entry.gdt.base + 0x20), 0x0000'8b00'0000'0067U);
    EXPECT_EQ(entry.gdt.limit, 0x2f);
}

// Walks the loader's page tables as the CPU would.
std::uint64_t translate(Ram &ram, std::uint64_t cr3, std::uint64_t address) {
    const auto next = [&](std::uint64_t table, unsigned shift) {
        const auto entry = ram->get<std::uint64_t>(table + (address >> shift & 0x1ff) * 8);
        EXPECT_EQ(entry & 3, 3U);
        return entry;
    };
    const auto pdpt = next(cr3, 39) & ~0xfffULL;
    const auto directory = next(pdpt, 30) & ~0xfffULL;
    const auto leaf = next(directory, 21);
    EXPECT_EQ(leaf & 0x80, 0x80U);
    return (leaf & ~0x1f'ffffULL) | (address & 0x1f'ffff);
}

TEST(BzImage, IdentityMapsFourGib) {
    Ram ram(64 * mib);
    const auto entry = boot::load_image(*ram, make_bzimage(), payload_with(""), "vmlinuz");
    for (const std::uint64_t address : {0x0ULL, 0x1f'ffffULL, 0x20'0000ULL, 0x3fff'ffffULL,
                                        0x4000'0000ULL, 0xfee0'0020ULL, 0xffff'fff0ULL})
        EXPECT_EQ(translate(ram, entry.cr3, address), address);
}

TEST(BzImage, FillsTheZeroPage) {
    Ram ram(64 * mib);
    const auto entry = boot::load_image(*ram, make_bzimage(), payload_with("quiet x=y"), "vmlinuz");
    const auto zero_page = entry.gpr[boot::rsi];
    EXPECT_EQ(ram->get<std::uint32_t>(zero_page + 0x202), 0x5372'6448U);
    EXPECT_EQ(ram->get<std::uint16_t>(zero_page + 0x206), 0x20f);
    EXPECT_EQ(ram->get<std::uint8_t>(zero_page + 0x210), 0xff);
    EXPECT_EQ(ram->get<std::uint64_t>(zero_page + 0x70), 0xe'0000U);
    EXPECT_EQ(ram->get<std::uint64_t>(zero_page + 0x258), load_at);
    EXPECT_EQ(ram->get<std::uint16_t>(zero_page + 0x26a), 0x5a5a) << "within the header's length";
    EXPECT_EQ(ram->get<std::uint16_t>(zero_page + 0x26c), 0) << "past the header's length";
    EXPECT_EQ(ram.text(ram->get<std::uint32_t>(zero_page + 0x228)), "quiet x=y");
    EXPECT_EQ(ram->get<std::uint32_t>(zero_page + 0x0), 0U) << "no stale memory in screen_info";
}

TEST(BzImage, PutsTheMemoryMapIntoTheZeroPage) {
    Ram ram(64 * mib);
    const auto entry = boot::load_image(*ram, make_bzimage(), payload_with(""), "vmlinuz");
    const auto zero_page = entry.gpr[boot::rsi];
    const auto map = boot::memory_map(*ram);
    ASSERT_EQ(ram->get<std::uint8_t>(zero_page + 0x1e8), map.size());
    for (std::size_t i = 0; i < map.size(); ++i) {
        const auto at = zero_page + 0x2d0 + 20 * i;
        EXPECT_EQ(ram->get<std::uint64_t>(at), map[i].start);
        EXPECT_EQ(ram->get<std::uint64_t>(at + 8), map[i].size);
        EXPECT_EQ(ram->get<boot::MapType>(at + 16), map[i].type);
    }
}

TEST(BzImage, PutsTheInitrdAtTheTopOfLowRam) {
    Ram ram(64 * mib);
    auto payload = payload_with("");
    payload.modules.push_back({pattern(0x1801, 9), "initrd"});
    const auto entry = boot::load_image(*ram, make_bzimage(), payload, "vmlinuz");
    const auto at = ram->get<std::uint32_t>(entry.gpr[boot::rsi] + 0x218);
    EXPECT_EQ(at, 64 * mib - 0x2000);
    EXPECT_EQ(ram->get<std::uint32_t>(entry.gpr[boot::rsi] + 0x21c), 0x1801U);
    Bytes loaded(0x1801);
    ram->read(at, loaded);
    EXPECT_EQ(loaded, payload.modules[0].bytes);
}

TEST(BzImage, KeepsTheInitrdBelowTheKernelsLimit) {
    Ram ram(64 * mib);
    auto image = make_bzimage();
    put(image, 0x22c, std::uint32_t{32 * mib - 1});
    auto payload = payload_with("");
    payload.modules.push_back({pattern(0x1000, 9), "initrd"});
    const auto entry = boot::load_image(*ram, image, payload, "vmlinuz");
    EXPECT_EQ(ram->get<std::uint32_t>(entry.gpr[boot::rsi] + 0x218), 32 * mib - 0x1000);
}

TEST(BzImage, EntersAt32BitsWithoutTheFlag) {
    Ram ram(64 * mib);
    auto image = make_bzimage();
    put(image, 0x236, std::uint16_t{0});
    const auto entry = boot::load_image(*ram, image, payload_with(""), "vmlinuz");
    EXPECT_EQ(entry.mode, boot::Mode::protected32);
    EXPECT_EQ(entry.rip, load_at);
    EXPECT_EQ(entry.cr0 & 0x8000'0001, 1U);
    EXPECT_EQ(entry.efer, 0U);
    EXPECT_EQ(entry.cs.attributes(), 0xc9b);
    EXPECT_EQ(ram->get<std::uint64_t>(entry.gdt.base + 0x10), 0x00cf'9b00'0000'ffffU);
    EXPECT_EQ(entry.gpr[boot::rbp] | entry.gpr[boot::rdi] | entry.gpr[boot::rbx], 0U);
}

TEST(BzImage, MovesARelocatableKernelIntoASmallGuest) {
    Ram ram(12 * mib);
    const auto entry = boot::load_image(*ram, make_bzimage(), payload_with(""), "vmlinuz");
    EXPECT_EQ(entry.rip, 2 * mib + 0x200);
}

TEST(BzImage, SaysWhatIsWrong) {
    const auto load = [](std::uint64_t ram_bytes, const Bytes &image, boot::Payload payload) {
        return error_of([&] {
            Ram ram(ram_bytes);
            boot::load_image(*ram, image, payload, "vmlinuz");
        });
    };
    auto fixed = make_bzimage();
    put(fixed, 0x234, std::uint8_t{0});
    EXPECT_TRUE(says(load(12 * mib, fixed, payload_with("")),
                     "vmlinuz: kernel needs 8 MiB at 0x1000000, guest has 12 MiB"));
    EXPECT_TRUE(says(load(8 * mib, make_bzimage(), payload_with("")), "guest has 8 MiB"));

    auto cut = make_bzimage();
    cut.resize(cut.size() - 64);
    EXPECT_TRUE(
        says(load(64 * mib, cut, payload_with("")), "bzImage is truncated: 14784 of 14848"));
    cut.resize(0x220);
    EXPECT_TRUE(says(load(64 * mib, cut, payload_with("")), "truncated"));

    auto old = make_bzimage();
    put(old, 0x206, std::uint16_t{0x205});
    EXPECT_TRUE(says(load(64 * mib, old, payload_with("")), "boot protocol 2.5"));

    EXPECT_TRUE(says(load(64 * mib, make_bzimage(), payload_with(std::string(2048, 'x'))),
                     "command line has 2048 characters, the kernel takes 2047"));
    EXPECT_EQ(load(64 * mib, make_bzimage(), payload_with(std::string(2047, 'x'))), "");

    auto big = payload_with("");
    big.modules.push_back({Bytes(41 * mib), "initrd"});
    EXPECT_TRUE(says(load(64 * mib, make_bzimage(), big), "initrd of 41 MiB does not fit"));
    big.modules[0].bytes.resize(40 * mib);
    EXPECT_EQ(load(64 * mib, make_bzimage(), big), "");
}

TEST(BzImage, SurvivesAnyTruncationAndAnyHeaderByte) {
    const auto whole = make_bzimage();
    for (std::size_t size = 0; size < setup_bytes + 32; size += 3) {
        Ram ram(2 * mib);
        EXPECT_NE(
            error_of([&] { boot::load_image(*ram, boot::ByteView{whole}.first(size), {}, "k"); }),
            "");
    }
    Ram ram(32 * mib);
    for (std::size_t at = 0x1f1; at < 0x26c; ++at)
        for (const unsigned value : {0x00U, 0x01U, 0x7fU, 0x80U, 0xffU}) {
            auto image = whole;
            image[at] = static_cast<std::byte>(value);
            error_of([&] { boot::load_image(*ram, image, {}, "k"); });
        }
}

} // namespace
} // namespace boot_test
