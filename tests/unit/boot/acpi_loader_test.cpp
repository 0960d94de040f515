// SPDX-License-Identifier: GPL-2.0-only
// The commands are executed as a firmware does it; the result has to be what write_acpi() makes.
#include "boot/acpi_loader.hpp"

#include <gtest/gtest.h>
#include <map>
#include <string>

namespace {

using boot::Bytes;
using boot::get;

constexpr std::uint32_t tables_gpa = 0x7fe0000, rsdp_gpa = 0xf5000;

struct Firmware {
    explicit Firmware(const boot::AcpiFiles &from) {
        files[boot::acpi_tables_file] = {from.tables, tables_gpa};
        files[boot::acpi_rsdp_file] = {from.rsdp, rsdp_gpa};
        EXPECT_EQ(from.loader.size() % 128, 0u);
        for (std::size_t at = 0; at < from.loader.size(); at += 128)
            command(boot::ByteView{from.loader}.subspan(at, 128));
    }
    struct File {
        Bytes bytes;
        std::uint64_t at = 0;
        bool allocated = false;
    };
    File &file(boot::ByteView name) {
        const std::string text(reinterpret_cast<const char *>(name.data()));
        EXPECT_TRUE(files.contains(text)) << text;
        return files[text];
    }
    void command(boot::ByteView c) {
        File &target = file(c.subspan(4, 56));
        switch (get<std::uint32_t>(c, 0)) {
        case 1:
            target.allocated = true;
            EXPECT_EQ(get<std::uint8_t>(c, 64), target.at == rsdp_gpa ? 2 : 1);
            break;
        case 2: pointer(target, file(c.subspan(60, 56)), c); break;
        case 3: checksum(target, c); break;
        default: ADD_FAILURE() << "an unknown command";
        }
    }
    void pointer(File &in, const File &to, boot::ByteView c) {
        EXPECT_TRUE(in.allocated && to.allocated);
        const auto offset = get<std::uint32_t>(c, 116);
        if (get<std::uint8_t>(c, 120) == 8)
            boot::put(in.bytes, offset, get<std::uint64_t>(in.bytes, offset) + to.at);
        else
            boot::put(in.bytes, offset,
                      static_cast<std::uint32_t>(get<std::uint32_t>(in.bytes, offset) + to.at));
    }
    static void checksum(File &in, boot::ByteView c) {
        const auto at = get<std::uint32_t>(c, 60), start = get<std::uint32_t>(c, 64),
                   length = get<std::uint32_t>(c, 68);
        std::uint8_t sum = 0;
        for (auto i = start; i < start + length; ++i)
            sum = static_cast<std::uint8_t>(sum + get<std::uint8_t>(in.bytes, i));
        boot::put(in.bytes, at, static_cast<std::uint8_t>(get<std::uint8_t>(in.bytes, at) - sum));
    }
    std::map<std::string, File> files;
};

void same_as_built(const boot::AcpiConfig &config) {
    Firmware firmware{boot::acpi_files(config)};
    const auto expected = boot::build_acpi(config, tables_gpa);
    EXPECT_EQ(firmware.files[boot::acpi_tables_file].bytes, expected.blob);
    EXPECT_EQ(firmware.files[boot::acpi_rsdp_file].bytes, expected.rsdp);
}

TEST(AcpiLoader, MakesTheTablesThatAreBuiltForAnAddress) { same_as_built({}); }

TEST(AcpiLoader, HardwareReducedToo) {
    boot::AcpiConfig config;
    config.hardware_reduced = true;
    same_as_built(config);
}

} // namespace
