// SPDX-License-Identifier: GPL-2.0-only
#include "boot/multiboot2.hpp"

#include <map>

#include "elf_images.hpp"

namespace boot_test {
namespace {

constexpr std::uint64_t header_at = 0x200;

struct HeaderTag {
    std::uint16_t type;
    std::uint16_t flags;
    std::vector<std::uint32_t> fields;
};

// Puts a header with these tags, and the one that ends them, into an image.
void put_header(Bytes &image, const std::vector<HeaderTag> &tags) {
    auto at = header_at + 16;
    const auto put_tag = [&](const HeaderTag &tag) {
        put(image, at, tag.type);
        put(image, at + 2, tag.flags);
        put(image, at + 4, static_cast<std::uint32_t>(8 + 4 * tag.fields.size()));
        for (std::size_t i = 0; i < tag.fields.size(); ++i)
            put(image, at + 8 + 4 * i, tag.fields[i]);
        at = boot::align_up(at + 8 + 4 * tag.fields.size(), 8);
    };
    for (const auto &tag : tags)
        put_tag(tag);
    put_tag({0, 0, {}});
    const auto length = static_cast<std::uint32_t>(at - header_at);
    put(image, header_at, 0xe852'50d6U);
    put(image, header_at + 4, 0U);
    put(image, header_at + 8, length);
    put(image, header_at + 12, 0U - 0xe852'50d6U - length);
}

Bytes make_multiboot2(const std::vector<HeaderTag> &tags = {}, Shape shape = {false}) {
    auto image = make_elf(shape);
    put_header(image, tags);
    return image;
}

// The boot information's tags: type and content, as a kernel walks them.
std::multimap<std::uint32_t, Bytes> read_tags(Ram &ram, std::uint64_t info) {
    std::multimap<std::uint32_t, Bytes> tags;
    const auto end = info + ram->get<std::uint32_t>(info);
    for (auto at = info + 8; at < end;) {
        const auto size = ram->get<std::uint32_t>(at + 4);
        Bytes content(size - 8);
        ram->read(at + 8, content);
        tags.emplace(ram->get<std::uint32_t>(at), content);
        at = boot::align_up(at + size, 8);
        if (tags.contains(0)) {
            EXPECT_EQ(at, end) << "the size is not up to the last tag";
        }
    }
    return tags;
}

std::string text_of(const Bytes &content, std::size_t from = 0) {
    return reinterpret_cast<const char *>(content.data()) + from;
}

TEST(Multiboot2, EntersWithInformation) {
    Ram ram(64 * mib);
    const auto rsdp = pattern(36, 9);
    ram->write(0xe'0000, rsdp);
    boot::Payload payload{"-v", {{pattern(0x1001, 1), "a one"}, {pattern(0x10, 2), "b"}}, 0xe'0000};
    const auto entry = boot::load_image(*ram, make_multiboot2(), payload, "kernel.elf");
    EXPECT_EQ(entry.mode, boot::Mode::protected32);
    EXPECT_EQ(entry.rip, load_at + 0x10);
    EXPECT_EQ(entry.gpr[boot::rax], 0x36d7'6289U);
    const auto info = entry.gpr[boot::rbx];
    EXPECT_EQ(info % 8, 0U);
    EXPECT_EQ(ram->get<std::uint32_t>(info + 4), 0U);
    const auto tags = read_tags(ram, info);
    EXPECT_EQ(text_of(tags.find(1)->second), "kernel.elf -v");
    EXPECT_EQ(text_of(tags.find(2)->second), "hwv");
    EXPECT_EQ(get<std::uint32_t>(tags.find(4)->second, 0), 639U);
    EXPECT_EQ(get<std::uint32_t>(tags.find(4)->second, 4), 63U * 1024);
    EXPECT_EQ(get<std::uint32_t>(tags.find(21)->second, 0), load_at);
    EXPECT_EQ(tags.find(14)->second, Bytes(rsdp.begin(), rsdp.begin() + 20));
    EXPECT_EQ(tags.find(15)->second, rsdp);
}

TEST(Multiboot2, TellsOfMemoryAndModules) {
    Ram ram(64 * mib);
    boot::Payload payload{"", {{pattern(0x1001, 1), "a one"}, {pattern(0x10, 2), "b"}}, 0};
    const auto entry = boot::load_image(*ram, make_multiboot2(), payload, "k");
    const auto tags = read_tags(ram, entry.gpr[boot::rbx]);
    EXPECT_EQ(text_of(tags.find(1)->second), "k");
    EXPECT_FALSE(tags.contains(14) || tags.contains(15)) << "there is no RSDP";
    const auto &map = tags.find(6)->second;
    EXPECT_EQ(get<std::uint32_t>(map, 0), 24U);
    std::vector<boot::MapEntry> entries;
    for (std::size_t at = 8; at < map.size(); at += 24)
        entries.push_back({get<std::uint64_t>(map, at), get<std::uint64_t>(map, at + 8),
                           get<boot::MapType>(map, at + 16)});
    EXPECT_EQ(entries, boot::memory_map(*ram));

    auto [module, end] = tags.equal_range(3);
    for (std::size_t i = 0; i < 2; ++i, ++module) {
        ASSERT_NE(module, end);
        const auto start = get<std::uint32_t>(module->second, 0);
        Bytes loaded(get<std::uint32_t>(module->second, 4) - start);
        ram->read(start, loaded);
        EXPECT_EQ(start % 0x1000, 0U);
        EXPECT_EQ(loaded, payload.modules[i].bytes);
        EXPECT_EQ(text_of(module->second, 8), payload.modules[i].command_line);
    }
    EXPECT_EQ(module, end);
}

TEST(Multiboot2, TellsOfTheScreen) {
    Ram ram(64 * mib);
    const auto image = make_multiboot2({{1, 0, {8}}}); // demanded
    EXPECT_THROW(boot::load_image(*ram, image, {}, "k"), boot::Error);
    boot::Payload payload;
    payload.screen = boot::Screen{};
    const auto told = [&] {
        const auto entry = boot::load_image(*ram, image, payload, "k");
        return read_tags(ram, entry.gpr[boot::rbx]).find(8)->second;
    };
    const Bytes text = told();
    ASSERT_EQ(text.size(), 24u);
    EXPECT_EQ(get<std::uint64_t>(text, 0), 0xb'8000u);
    EXPECT_EQ(get<std::uint32_t>(text, 8), 160u);
    EXPECT_EQ(get<std::uint32_t>(text, 12), 80u);
    EXPECT_EQ(get<std::uint32_t>(text, 16), 25u);
    EXPECT_EQ(get<std::uint32_t>(text, 20), 0x0210u);
    payload.screen = boot::Screen{
        .address = 0xc000'0000, .width = 800, .height = 600, .bits = 16, .pitch = 1600};
    const Bytes picture = told();
    ASSERT_EQ(picture.size(), 30u);
    EXPECT_EQ(get<std::uint64_t>(picture, 0), 0xc000'0000u);
    EXPECT_EQ(get<std::uint32_t>(picture, 8), 1600u);
    EXPECT_EQ(get<std::uint32_t>(picture, 12), 800u);
    EXPECT_EQ(get<std::uint32_t>(picture, 16), 600u);
    EXPECT_EQ(get<std::uint32_t>(picture, 20), 0x0110u);
    EXPECT_EQ(get<std::uint32_t>(picture, 24), 0x0605'050bu);
    EXPECT_EQ(get<std::uint16_t>(picture, 28), 0x0500u);
}

TEST(Multiboot2, TakesAnEntryOfItsOwnAndTranslatesAnElfs) {
    Ram ram(64 * mib);
    const auto own = boot::load_image(*ram, make_multiboot2({{3, 0, {0x20'0044, 0}}}), {}, "k");
    EXPECT_EQ(own.rip, 0x20'0044U);
    auto image = make_multiboot2({}, {true});
    put(image, 24, std::uint64_t{0xffff'8000'0000'0020});
    put_segment(
        image, {true}, 0,
        {boot::elf_load, payload_offset, 0xffff'8000'0000'0000, load_at, file_bytes, memory_bytes});
    EXPECT_EQ(boot::load_image(*ram, image, {}, "k").rip, load_at + 0x20);
}

TEST(Multiboot2, TakesLoadAddressesFromTheHeader) {
    Ram ram(4 * mib);
    auto image = pattern(0x900, 4);
    put_header(image,
               {{2, 0, {0x10'0000 + header_at, 0x10'0000, 0, 0x10'2000}}, {3, 0, {0x10'0080, 0}}});
    const auto entry = boot::load_image(*ram, image, {}, "a.out");
    EXPECT_EQ(entry.rip, 0x10'0080U);
    Bytes loaded(image.size());
    ram->read(0x10'0000, loaded);
    EXPECT_EQ(loaded, image);
    EXPECT_EQ(ram->get<std::uint8_t>(0x10'1fff), 0);
    EXPECT_EQ(ram->get<std::uint8_t>(0x10'2000), 0xee);
}

TEST(Multiboot2, ComesBeforeOtherKindsUnlessTold) {
    auto image = make_multiboot2();
    put(image, 0x100, 0x1bad'b002U);
    put(image, 0x104, 0U);
    put(image, 0x108, 0U - 0x1bad'b002U);
    EXPECT_EQ(boot::identify(image), boot::ImageKind::multiboot2);
    Ram ram(64 * mib);
    const auto entry = boot::load_image(*ram, image, {}, "k", boot::kind_named("multiboot"));
    EXPECT_EQ(entry.gpr[boot::rax], 0x2bad'b002U);
    const auto refusal = [&](const char *kind) {
        return error_of([&] { boot::load_image(*ram, image, {}, "k", boot::kind_named(kind)); });
    };
    EXPECT_TRUE(says(refusal("pvh"), "k: ELF has no PVH note"));
    EXPECT_TRUE(says(refusal("linux"), "k: no bzImage"));
    EXPECT_FALSE(boot::kind_named("auto") || boot::kind_named("flat"));
}

TEST(Multiboot2, RefusesWhatIsDemandedAndNotThere) {
    const auto load = [](const std::vector<HeaderTag> &tags) {
        return error_of([&] {
            Ram ram(64 * mib);
            boot::load_image(*ram, make_multiboot2(tags), {}, "k");
        });
    };
    EXPECT_EQ(load({{1, 0, {4, 6}}, {4, 1, {3}}, {5, 0, {0, 0, 0}}, {6, 0, {}}, {10, 1, {0}}}), "");
    EXPECT_EQ(load({{1, 1, {8}}, {7, 1, {}}, {77, 1, {}}}), "") << "optional ones";
    EXPECT_TRUE(says(load({{1, 0, {4, 8}}}), "information of type 8"));
    EXPECT_TRUE(says(load({{7, 0, {}}}), "tag of type 7"));
    EXPECT_TRUE(says(load({{77, 0, {}}}), "tag of type 77"));
    EXPECT_TRUE(says(load({{2, 0, {0, 0, 0, 0}}}), "addresses without an entry"));
}

TEST(Multiboot2, SaysWhatIsWrong) {
    Ram ram(64 * mib);
    const auto load = [&](const Bytes &image, const boot::Payload &payload) {
        return error_of([&] { boot::load_image(*ram, image, payload, "k"); });
    };
    auto tag = make_multiboot2({{5, 0, {0, 0, 0}}});
    put(tag, header_at + 20, 4U);
    EXPECT_TRUE(says(load(tag, {}), "a tag of 4 bytes"));
    EXPECT_TRUE(says(load(make_multiboot2(), {std::string(0x7000, 'x'), {}, 0}), "too long"));
    auto other = make_multiboot2();
    put(other, header_at + 4, 4U);
    put(other, header_at + 12, get<std::uint32_t>(other, header_at + 12) - 4);
    EXPECT_TRUE(says(load(other, {}), "for another architecture"));
}

TEST(Multiboot2, SurvivesAnyTruncationAndHeaderByte) {
    Ram ram(4 * mib);
    const auto whole = make_multiboot2({{1, 0, {4, 6}}, {3, 0, {0x20'0044, 0}}, {7, 1, {}}});
    for (std::size_t size = 0; size < whole.size(); size += 5)
        error_of([&] { boot::load_image(*ram, boot::ByteView{whole}.first(size), {}, "k"); });
    for (auto at = header_at; at < header_at + 0x60; ++at)
        for (const unsigned value : {0x00U, 0x01U, 0x7fU, 0xffU}) {
            auto image = whole;
            image[at] = static_cast<std::byte>(value);
            error_of([&] { boot::load_image(*ram, image, {}, "k", boot::ImageKind::multiboot2); });
        }
}

} // namespace
} // namespace boot_test
