// SPDX-License-Identifier: GPL-2.0-only
#include "boot/elf.hpp"

#include "elf_images.hpp"

namespace boot_test {
namespace {

Bytes make_pvh(std::uint32_t entry) {
    const Shape shape{true};
    auto image = make_elf(shape);
    const auto note = image.size();
    for (const std::uint32_t word : {4U, 8U, 7U, 0x006e'6558U, 0xffff'ffffU, 0xffff'ffffU, // other
                                     4U, 4U, 18U, 0x006e'6558U, entry})
        boot::append(image, word);
    put_segment(image, shape, 1, {boot::elf_note, note, 0, 0, image.size() - note, 0});
    return image;
}

Bytes make_multiboot(std::uint32_t flags = 3) {
    auto image = make_elf({false});
    put(image, 0x100, std::uint32_t{0x1bad'b002});
    put(image, 0x104, flags);
    put(image, 0x108, static_cast<std::uint32_t>(0U - 0x1bad'b002U - flags));
    return image;
}

std::vector<boot::MapEntry> read_map(Ram &ram, std::uint64_t at, std::size_t count,
                                     std::size_t stride, std::size_t skip) {
    std::vector<boot::MapEntry> map;
    for (std::size_t i = 0; i < count; ++i, at += stride)
        map.push_back({ram->get<std::uint64_t>(at + skip), ram->get<std::uint64_t>(at + skip + 8),
                       ram->get<boot::MapType>(at + skip + 16)});
    return map;
}

TEST(Elf, IdentifiesByContent) {
    EXPECT_EQ(boot::identify(make_pvh(0x10'0000)), boot::ImageKind::pvh);
    EXPECT_EQ(boot::identify(make_multiboot()), boot::ImageKind::multiboot);
    EXPECT_EQ(boot::identify(make_elf({true})), boot::ImageKind::unknown);
    auto wrong_sum = make_multiboot();
    put(wrong_sum, 0x104, std::uint32_t{2});
    EXPECT_EQ(boot::identify(wrong_sum), boot::ImageKind::unknown);
}

TEST(Pvh, EntersWithStartInformation) {
    Ram ram(64 * mib);
    boot::Payload payload{"console=hvc0", {{pattern(0x1234, 1), "initrd quiet"}}, 0xe'0000};
    const auto entry = boot::load_image(*ram, make_pvh(0x20'0040), payload, "vmlinux");
    EXPECT_EQ(entry.mode, boot::Mode::protected32);
    EXPECT_EQ(entry.rip, 0x20'0040U);
    EXPECT_EQ(entry.cr0 & 0x8000'0001, 1U);
    EXPECT_EQ(entry.cr4, 0U);
    EXPECT_EQ(entry.tr.attributes() & 0xff, 0x8b);
    EXPECT_EQ(entry.tr.limit, 0x67U);

    const auto info = entry.gpr[boot::rbx];
    EXPECT_EQ(ram->get<std::uint32_t>(info), 0x336e'c578U);
    EXPECT_EQ(ram->get<std::uint32_t>(info + 4), 1U);
    EXPECT_EQ(ram.text(ram->get<std::uint64_t>(info + 24)), "console=hvc0");
    EXPECT_EQ(ram->get<std::uint64_t>(info + 32), 0xe'0000U);
    const auto entries = ram->get<std::uint32_t>(info + 48);
    EXPECT_EQ(read_map(ram, ram->get<std::uint64_t>(info + 40), entries, 24, 0),
              boot::memory_map(*ram));

    ASSERT_EQ(ram->get<std::uint32_t>(info + 12), 1U);
    const auto module = ram->get<std::uint64_t>(info + 16);
    Bytes loaded(ram->get<std::uint64_t>(module + 8));
    ram->read(ram->get<std::uint64_t>(module), loaded);
    EXPECT_EQ(loaded, payload.modules[0].bytes);
    EXPECT_EQ(ram.text(ram->get<std::uint64_t>(module + 16)), "initrd quiet");
}

TEST(Pvh, LoadsSegmentsAndClearsTheirTail) {
    Ram ram(64 * mib);
    boot::load_image(*ram, make_pvh(0x20'0000), {}, "vmlinux");
    Bytes loaded(file_bytes);
    ram->read(load_at, loaded);
    EXPECT_EQ(loaded, pattern(file_bytes, 5));
    Bytes tail(memory_bytes - file_bytes);
    ram->read(load_at + file_bytes, tail);
    EXPECT_EQ(tail, Bytes(tail.size()));
    EXPECT_EQ(ram->get<std::uint8_t>(load_at + memory_bytes), 0xee) << "cleared too much";
}

TEST(Multiboot, EntersWithInformation) {
    Ram ram(64 * mib);
    boot::Payload payload{"-v", {{pattern(0x1001, 1), "a one"}, {pattern(0x10, 2), "b"}}, 0};
    const auto entry = boot::load_image(*ram, make_multiboot(), payload, "kernel.elf");
    EXPECT_EQ(entry.mode, boot::Mode::protected32);
    EXPECT_EQ(entry.rip, load_at + 0x10);
    EXPECT_EQ(entry.gpr[boot::rax], 0x2bad'b002U);
    const auto info = entry.gpr[boot::rbx];
    EXPECT_EQ(ram->get<std::uint32_t>(info), 0x24dU);
    EXPECT_EQ(ram->get<std::uint32_t>(info + 4), 639U);
    EXPECT_EQ(ram->get<std::uint32_t>(info + 8), 63U * 1024);
    EXPECT_EQ(ram.text(ram->get<std::uint32_t>(info + 16)), "kernel.elf -v");
    EXPECT_EQ(ram.text(ram->get<std::uint32_t>(info + 64)), "hwv");
    const auto length = ram->get<std::uint32_t>(info + 44);
    EXPECT_EQ(length % 24, 0U);
    EXPECT_EQ(read_map(ram, ram->get<std::uint32_t>(info + 48), length / 24, 24, 4),
              boot::memory_map(*ram));

    ASSERT_EQ(ram->get<std::uint32_t>(info + 20), 2U);
    for (std::size_t i = 0; i < 2; ++i) {
        const auto module = ram->get<std::uint32_t>(info + 24) + 16 * i;
        const auto start = ram->get<std::uint32_t>(module);
        Bytes loaded(ram->get<std::uint32_t>(module + 4) - start);
        ram->read(start, loaded);
        EXPECT_EQ(start % 0x1000, 0U);
        EXPECT_EQ(loaded, payload.modules[i].bytes);
        EXPECT_EQ(ram.text(ram->get<std::uint32_t>(module + 8)), payload.modules[i].command_line);
    }
}

// No ELF at all: the header's own addresses say what goes where.
Bytes make_kludge(std::uint32_t load_end, std::uint32_t bss_end) {
    auto image = pattern(0x900, 4);
    const std::uint32_t flags = 1 << 16;
    unsigned at = 0x40;
    for (const auto word :
         {0x1bad'b002U, flags, 0U - 0x1bad'b002U - flags, std::uint32_t{0x10'0020},
          std::uint32_t{0x10'0000}, load_end, bss_end, std::uint32_t{0x10'0080}}) {
        put(image, at, word);
        at += 4;
    }
    return image;
}

TEST(Multiboot, TakesLoadAddressesFromTheHeader) {
    Ram ram(4 * mib);
    const auto image = make_kludge(0, 0x10'2000);
    const auto entry = boot::load_image(*ram, image, {}, "a.out");
    EXPECT_EQ(entry.rip, 0x10'0080U);
    Bytes loaded(image.size() - 0x20);
    ram->read(0x10'0000, loaded);
    EXPECT_EQ(loaded, Bytes(image.begin() + 0x20, image.end()));
    EXPECT_EQ(ram->get<std::uint8_t>(0x10'1fff), 0);
    EXPECT_EQ(ram->get<std::uint8_t>(0x10'2000), 0xee);

    Ram partial(4 * mib);
    boot::load_image(*partial, make_kludge(0x10'0100, 0), {}, "a.out");
    EXPECT_EQ(partial->get<std::byte>(0x10'00ff), image[0x11f]);
    EXPECT_EQ(partial->get<std::uint8_t>(0x10'0100), 0xee);
}

TEST(Elf, SaysWhatIsWrong) {
    const auto load = [](const Bytes &image, std::uint64_t ram_bytes = 64 * mib) {
        return error_of([&] {
            Ram ram(ram_bytes);
            boot::load_image(*ram, image, {}, "k");
        });
    };
    EXPECT_TRUE(says(load(make_elf({true})), "ELF without a PVH note or a multiboot header"));
    EXPECT_TRUE(
        says(load(make_multiboot(), 2 * mib), "kernel needs 1 MiB at 0x200000, guest has 2 MiB"));
    auto cut = make_multiboot();
    cut.resize(cut.size() - 1);
    EXPECT_TRUE(says(load(cut), "ELF is truncated: a segment ends at 6144, the file at 6143"));
    EXPECT_TRUE(says(load(make_multiboot(8)), "demands what is not there: flags 0x8"));
    EXPECT_TRUE(says(load(make_kludge(0x10'1000, 0)), "multiboot image is truncated"));

    auto low = make_multiboot();
    put_segment(low, {false}, 0, {boot::elf_load, payload_offset, 0, 0x1000, 16, 16});
    EXPECT_TRUE(says(load(low), "the loader's tables are there"));
    put_segment(low, {false}, 0, {boot::elf_load, payload_offset, 0, 0xf'0000, 16, 16});
    EXPECT_TRUE(says(load(low), "belongs to the firmware"));
    put_segment(low, {false}, 0, {boot::elf_load, payload_offset, 0, load_at, 16, 8});
    EXPECT_TRUE(says(load(low), "larger in the file than in memory"));
}

TEST(Elf, SurvivesAnyTruncation) {
    Ram ram(4 * mib);
    for (const auto &whole : {make_pvh(0x20'0000), make_multiboot(), make_kludge(0, 0)})
        for (std::size_t size = 0; size < whole.size(); size += 5)
            error_of([&] { boot::load_image(*ram, boot::ByteView{whole}.first(size), {}, "k"); });
}

TEST(Elf, SurvivesAnyHeaderByte) {
    Ram ram(4 * mib);
    for (const auto &whole : {make_pvh(0x20'0000), make_multiboot()})
        for (std::size_t at = 4; at < whole.size(); at += at < 0x120 ? 1 : 64)
            for (const unsigned value : {0x00U, 0x01U, 0x7fU, 0xffU}) {
                auto image = whole;
                image[at] = static_cast<std::byte>(value);
                error_of([&] { boot::load_image(*ram, image, {}, "k"); });
            }
}

} // namespace
} // namespace boot_test
