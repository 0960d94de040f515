// SPDX-License-Identifier: GPL-2.0-only
#include "records/symbols.hpp"
#include <elf.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include "records/fixture.hpp"

namespace records {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t base = 0xffffffff81000000, slide = 37ull << 21;

constexpr const char *map = "0000000000000000 A fixed_percpu_data\n"
                            "ffffffff81000000 T _stext\n"
                            "ffffffff81000000 T _text\n"
                            "ffffffff81000100 t __pfx_native_write_msr\n"
                            "ffffffff81000110 t native_write_msr\n"
                            "ffffffff81000200 T native_read_msr\n"
                            "ffffffff81000300 T native_safe_halt\n"
                            "ffffffff81000400 T native_io_delay\n"
                            "ffffffff81000500 T schedule\n"
                            "ffffffff81000600 T do_syscall_64\n"
                            "ffffffff81001000 T _etext\n"
                            "ffffffff82000000 D jiffies\n"
                            "ffffffffc0001000 t probe\t[virtio_net]\n";

Symbols table() { return Symbols::parse_text(map, "map"); }

std::vector<ExitSite> exits(std::uint64_t by) {
    return {{HWV_EXIT_MSR_WRITE, base + 0x114 + by, 9},  {HWV_EXIT_MSR_READ, base + 0x202 + by, 5},
            {HWV_EXIT_HLT, base + 0x301 + by, 5},        {HWV_EXIT_IO, base + 0x402 + by, 4},
            {HWV_EXIT_PAGE_FAULT, base + 0x602 + by, 4}, {HWV_EXIT_CPUID, 0x401000, 4}};
}

std::string complaint(const std::string &text) {
    try {
        Symbols::parse_text(text, "F");
        return {};
    } catch (const std::exception &e) {
        return e.what();
    }
}

TEST(Symbols, names_what_lies_in_a_function) {
    const Symbols s = table();
    EXPECT_EQ(s.name(base + 0x114), "native_write_msr+0x4");
    EXPECT_EQ(s.name(base + 0x110), "native_write_msr+0x0");
    EXPECT_EQ(s.function(base + 0x5ff), "schedule");
    EXPECT_EQ(s.name(0xffffffffc0001008), "probe [virtio_net]+0x8");
}

TEST(Symbols, names_nothing_else) {
    const Symbols s = table();
    EXPECT_EQ(s.name(base - 1), "");
    EXPECT_EQ(s.name(base + 0x1000), "") << "behind the text";
    EXPECT_EQ(s.name(0xffffffff82000000), "") << "data";
    EXPECT_EQ(s.name(0x401000), "");
    EXPECT_EQ(s.name(~0ull), "");
}

TEST(Symbols, refuses_files_without_functions) {
    EXPECT_THAT(complaint("hello\n"), HasSubstr("F: line 1: not an address"));
    EXPECT_THAT(complaint("ffffffff81000000 T a\nx\n"), HasSubstr("line 2"));
    EXPECT_THAT(complaint("0000000000000000 T a\n0000000000000000 t b\n"),
                HasSubstr("read /proc/kallsyms as root"));
    EXPECT_THAT(complaint("ffffffffffffffff B The real System.map is in the -dbg package\n"),
                HasSubstr("placeholder"));
    EXPECT_THAT(complaint(""), HasSubstr("no functions"));
}

TEST(Slide, is_found_from_the_places_of_exits) {
    Symbols s = table();
    const auto guess = s.guess_slide(exits(slide));
    ASSERT_TRUE(guess);
    EXPECT_EQ(guess->slide, slide);
    EXPECT_EQ(guess->agree, 4u);
    EXPECT_EQ(guess->asked, 4u);
    s.set_slide(guess->slide);
    EXPECT_EQ(s.name(base + 0x301 + slide), "native_safe_halt+0x1");
    EXPECT_EQ(s.address_of("schedule"), base + 0x500 + slide);
}

TEST(Slide, is_none_for_a_kernel_where_the_table_has_it) {
    const auto guess = table().guess_slide(exits(0));
    ASSERT_TRUE(guess);
    EXPECT_EQ(guess->slide, 0u);
}

TEST(Slide, may_be_negative_where_the_table_is_a_moved_one) {
    std::string moved;
    for (const char *line : {"110 t native_write_msr", "200 T native_read_msr",
                             "300 T native_safe_halt", "400 T native_io_delay", "500 T schedule"})
        moved += fmt::format("{:x}", (base + slide) >> 12) + line + "\n";
    const auto guess = Symbols::parse_text(moved, "F").guess_slide(exits(0));
    ASSERT_TRUE(guess);
    EXPECT_EQ(guess->slide, -slide);
}

TEST(Slide, is_not_made_up) {
    EXPECT_FALSE(table().guess_slide({}));
    const std::vector<ExitSite> two{{HWV_EXIT_HLT, base + 0x301, 1},
                                    {HWV_EXIT_IO, base + 0x402, 1}};
    EXPECT_FALSE(table().guess_slide(two)) << "two places can agree by chance";
    std::vector<ExitSite> elsewhere = exits(0);
    for (ExitSite &e : elsewhere)
        e.rip += 0x234;
    EXPECT_FALSE(table().guess_slide(elsewhere));
}

// A vmlinux of one code section and two functions.
std::vector<char> elf_image(const std::vector<std::uint8_t> &code) {
    const std::string names{"\0one\0two\0", 9};
    Elf64_Sym symbols[3]{};
    symbols[1] = {1, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, base, 0x10};
    symbols[2] = {5, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, base + 0x10, 0x10};
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, "\177ELF\2\1\1", 7);
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_version = 1;
    header.e_ehsize = sizeof header;
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = 4;
    const std::size_t at_code = sizeof header, at_symbols = at_code + 64,
                      at_names = at_symbols + sizeof symbols, at_sections = at_names + 16;
    header.e_shoff = at_sections;
    Elf64_Shdr sections[4]{};
    sections[1] = {0, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, base, at_code, code.size(), 0, 0, 1,
                   0};
    sections[2] = {0, SHT_SYMTAB, 0, 0, at_symbols, sizeof symbols, 3, 1, 8, sizeof(Elf64_Sym)};
    sections[3] = {0, SHT_STRTAB, 0, 0, at_names, names.size(), 0, 0, 1, 0};
    std::vector<char> out(at_sections + sizeof sections);
    std::memcpy(out.data(), &header, sizeof header);
    std::memcpy(out.data() + at_code, code.data(), code.size());
    std::memcpy(out.data() + at_symbols, symbols, sizeof symbols);
    std::memcpy(out.data() + at_names, names.data(), names.size());
    std::memcpy(out.data() + at_sections, sections, sizeof sections);
    return out;
}

TEST(SymbolsElf, names_functions_and_finds_the_slide_by_the_instructions) {
    std::vector<std::uint8_t> code(0x20, 0x90);
    code[2] = 0xf4;                       // HLT
    code[5] = 0x0f, code[6] = 0xa2;       // CPUID
    code[0x11] = 0x66, code[0x12] = 0xed; // IN eAX, DX
    const Symbols s = Symbols::parse_elf(elf_image(code), "F");
    EXPECT_EQ(s.name(base + 0x12), "two+0x2");
    const std::vector<ExitSite> sites{{HWV_EXIT_HLT, base + 2 + slide, 1},
                                      {HWV_EXIT_CPUID, base + 5 + slide, 1},
                                      {HWV_EXIT_IO, base + 0x11 + slide, 1}};
    const auto guess = s.guess_slide(sites);
    ASSERT_TRUE(guess);
    EXPECT_EQ(guess->slide, slide);
}

// Sections over one another: copies of them would take more memory than any file has bytes.
TEST(SymbolsElf, sections_are_not_larger_than_the_file) {
    std::vector<char> image = elf_image(std::vector<std::uint8_t>(0x20, 0x90));
    Elf64_Ehdr header;
    std::memcpy(&header, image.data(), sizeof header);
    const std::size_t more = 64, at = image.size();
    Elf64_Shdr code;
    std::memcpy(&code, image.data() + header.e_shoff + sizeof code, sizeof code);
    std::vector<char> sections(image.begin() + static_cast<std::ptrdiff_t>(header.e_shoff),
                               image.end());
    image.resize(at + sections.size() + more * sizeof code);
    std::memcpy(image.data() + at, sections.data(), sections.size());
    code.sh_offset = 0;
    code.sh_size = at;
    for (std::size_t i = 0; i < more; ++i)
        std::memcpy(image.data() + at + sections.size() + i * sizeof code, &code, sizeof code);
    header.e_shoff = at;
    header.e_shnum = static_cast<Elf64_Half>(header.e_shnum + more);
    std::memcpy(image.data(), &header, sizeof header);
    try {
        Symbols::parse_elf(image, "F");
        FAIL() << "taken";
    } catch (const Error &e) {
        EXPECT_THAT(e.what(), HasSubstr("larger than the file"));
    }
}

TEST(SymbolsElf, damaged_ones_are_refused_or_read) {
    const std::vector<char> whole = elf_image(std::vector<std::uint8_t>(0x20, 0x90));
    for (std::size_t size = 4; size < whole.size(); ++size) {
        try {
            Symbols::parse_elf({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)},
                               "F");
        } catch (const std::exception &e) {
            EXPECT_THAT(e.what(), HasSubstr("F: "));
        }
    }
}

} // namespace
} // namespace records
