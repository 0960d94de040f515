// SPDX-License-Identifier: GPL-2.0-only
#include "boot/acpi.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>

#include "boot/aml.hpp"
#include "fixture.hpp"

namespace boot_test {
namespace {

namespace aml = boot::aml;
using aml::Code;

unsigned sum(boot::ByteView bytes) {
    return std::accumulate(
               bytes.begin(), bytes.end(), 0U,
               [](unsigned s, std::byte b) { return s + std::to_integer<unsigned>(b); }) &
           0xff;
}

TEST(Aml, PackageLengthAtItsBoundaries) {
    EXPECT_EQ(aml::package_length(0), (Code{0x01}));
    EXPECT_EQ(aml::package_length(62), (Code{0x3f}));
    EXPECT_EQ(aml::package_length(63), (Code{0x41, 0x04}));              // 65
    EXPECT_EQ(aml::package_length(0xfff - 2), (Code{0x4f, 0xff}));       // 4095
    EXPECT_EQ(aml::package_length(0xfff - 1), (Code{0x81, 0x00, 0x01})); // 4097
    EXPECT_EQ(aml::package_length(0xf'ffff - 3), (Code{0x8f, 0xff, 0xff}));
    EXPECT_EQ(aml::package_length(0xf'ffff - 2), (Code{0xc1, 0x00, 0x00, 0x01}));
    EXPECT_THROW(aml::package_length(0x1000'0000), std::length_error);
}

TEST(Aml, Names) {
    EXPECT_EQ(aml::name_string("_HID"), (Code{'_', 'H', 'I', 'D'}));
    EXPECT_EQ(aml::name_string("\\_S5"), (Code{'\\', '_', 'S', '5', '_'}));
    EXPECT_EQ(aml::name_string("\\"), (Code{'\\', 0}));
    EXPECT_EQ(aml::name_string("^A"), (Code{'^', 'A', '_', '_', '_'}));
    EXPECT_EQ(aml::name_string("AB.CDEF"), (Code{0x2e, 'A', 'B', '_', '_', 'C', 'D', 'E', 'F'}));
    EXPECT_EQ(aml::name_string("\\A.B.C"),
              (Code{'\\', 0x2f, 3, 'A', '_', '_', '_', 'B', '_', '_', '_', 'C', '_', '_', '_'}));
    for (const auto *bad : {"", "ABCDE", "1BCD", "ab", "A..B", "A."})
        EXPECT_THROW(aml::name_string(bad), std::invalid_argument) << bad;
}

TEST(Aml, IntegersTakeTheShortestForm) {
    EXPECT_EQ(aml::integer(0), (Code{0x00}));
    EXPECT_EQ(aml::integer(1), (Code{0x01}));
    EXPECT_EQ(aml::integer(0xff), (Code{0x0a, 0xff}));
    EXPECT_EQ(aml::integer(0x100), (Code{0x0b, 0x00, 0x01}));
    EXPECT_EQ(aml::integer(0x1'0000), (Code{0x0c, 0x00, 0x00, 0x01, 0x00}));
    EXPECT_EQ(aml::integer(0x1'0000'0000), (Code{0x0e, 0, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(Aml, EisaIdsAndResources) {
    EXPECT_EQ(aml::eisa_id("PNP0501"), (Code{0x0c, 0x41, 0xd0, 0x05, 0x01}));
    EXPECT_EQ(aml::irq(4), (Code{0x22, 0x10, 0x00}));
    EXPECT_EQ(aml::io_port(0x3f8, 8), (Code{0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8}));
    EXPECT_EQ(aml::resources({}), (Code{0x11, 0x05, 0x0a, 0x02, 0x79, 0x00}));
    EXPECT_THROW(aml::eisa_id("PNP05"), std::invalid_argument);
    EXPECT_THROW(aml::irq(16), std::invalid_argument);
}

boot::AcpiConfig full_config() {
    boot::AcpiConfig config;
    config.apic_ids = {0, 1, 300};
    config.uarts = {{0x3f8, 4}, {0x2f8, 3}};
    config.i8042 = config.keyboard = true;
    config.panic_port = 0x505;
    config.virtio = {{0xd000'0000, 0x1000, 20}};
    config.pci = machine::PciDescription{
        .ecam_base = 0xb000'0000,
        .ecam_bytes = 256u << 20,
        .memory_first = 0xc000'0000,
        .memory_last = 0xfebf'ffff,
        .memory64_first = 0x80'0000'0000,
        .memory64_bytes = 0x80'0000'0000,
        .gsi = [](unsigned device, unsigned pin) { return 16 + (device + pin) % 8; },
    };
    return config;
}

TEST(Acpi, RsdpLeadsToSealedTables) {
    Ram ram(4 * mib);
    const auto rsdp_at = boot::write_acpi(*ram, full_config());
    EXPECT_EQ(rsdp_at % 16, 0U);
    Bytes rsdp(36);
    ram->read(rsdp_at, rsdp);
    EXPECT_EQ(std::memcmp(rsdp.data(), "RSD PTR ", 8), 0);
    EXPECT_EQ(sum(boot::ByteView{rsdp}.first(20)), 0U);
    EXPECT_EQ(sum(rsdp), 0U);

    const auto table_at = [&](std::uint64_t at, const char *signature) {
        Bytes table(ram->get<std::uint32_t>(at + 4));
        ram->read(at, table);
        EXPECT_EQ(std::memcmp(table.data(), signature, 4), 0) << signature;
        EXPECT_EQ(sum(table), 0U) << signature;
        return table;
    };
    const auto xsdt = table_at(get<std::uint64_t>(rsdp, 24), "XSDT");
    const auto rsdt = table_at(get<std::uint32_t>(rsdp, 16), "RSDT");
    ASSERT_EQ(xsdt.size(), 36U + 3 * 8);
    ASSERT_EQ(rsdt.size(), 36U + 3 * 4);
    EXPECT_EQ(get<std::uint64_t>(xsdt, 36), get<std::uint32_t>(rsdt, 36));
    EXPECT_EQ(get<std::uint64_t>(xsdt, 44), get<std::uint32_t>(rsdt, 40));
    const auto fadt = table_at(get<std::uint64_t>(xsdt, 36), "FACP");
    table_at(get<std::uint64_t>(xsdt, 44), "APIC");
    const auto mcfg = table_at(get<std::uint64_t>(xsdt, 52), "MCFG");
    ASSERT_EQ(mcfg.size(), 60U);
    EXPECT_EQ(get<std::uint64_t>(mcfg, 44), 0xb000'0000U);
    EXPECT_EQ(get<std::uint8_t>(mcfg, 55), 255);
    ASSERT_EQ(fadt.size(), 276U);
    table_at(get<std::uint32_t>(fadt, 40), "DSDT");
    EXPECT_EQ(get<std::uint64_t>(fadt, 140), get<std::uint32_t>(fadt, 40));
    const auto facs = get<std::uint32_t>(fadt, 36);
    EXPECT_EQ(facs % 64, 0U);
    EXPECT_EQ(ram->get<std::uint32_t>(facs), 0x5343'4146U);
}

TEST(Acpi, MadtEntriesAddUp) {
    const auto madt = boot::build_madt(full_config());
    std::vector<unsigned> kinds;
    std::uint64_t at = 44;
    while (at < madt.size()) {
        kinds.push_back(get<std::uint8_t>(madt, at));
        at += get<std::uint8_t>(madt, at + 1);
    }
    EXPECT_EQ(at, madt.size());
    EXPECT_EQ(kinds, (std::vector<unsigned>{0, 0, 9, 1, 2, 2, 4, 10}));
}

TEST(Acpi, HardwareReducedHasNoPmBlocks) {
    boot::AcpiConfig config;
    config.hardware_reduced = true;
    const auto fadt = boot::build_fadt(config, 0, 0x1000);
    EXPECT_NE(get<std::uint32_t>(fadt, 112) & 1 << 20, 0U);
    EXPECT_EQ(get<std::uint32_t>(fadt, 56), 0U);
    EXPECT_EQ(get<std::uint32_t>(fadt, 64), 0U);
    EXPECT_EQ(get<std::uint64_t>(fadt, 248), config.sleep_control);
    EXPECT_EQ(get<std::uint64_t>(fadt, 260), config.sleep_status);
}

TEST(Acpi, FollowsTheMachinesDescription) {
    machine::MachineDescription pc;
    pc.ioapic = {0xfec0'0000, 3, 0, 24};
    pc.pm = {0x700, 0x704, 0x708, false, 0x720, 8, 0x710, 0x711, 6};
    pc.reset = {0x64, 0xfe};
    pc.serial[1] = {0x2f8, 3};
    const auto config = boot::acpi_config(pc, 3);
    EXPECT_EQ(config.apic_ids, (std::vector<std::uint32_t>{0, 1, 2}));
    ASSERT_EQ(config.uarts.size(), 1U);
    EXPECT_EQ(config.uarts[0].port, 0x2f8);
    const auto fadt = boot::build_fadt(config, 0, 0x1000);
    EXPECT_EQ(get<std::uint32_t>(fadt, 56), 0x700U);
    EXPECT_EQ(get<std::uint32_t>(fadt, 64), 0x704U);
    EXPECT_EQ(get<std::uint32_t>(fadt, 76), 0x708U);
    EXPECT_EQ(get<std::uint32_t>(fadt, 80), 0x720U);
    EXPECT_EQ(get<std::uint8_t>(fadt, 92), 8);
    EXPECT_EQ(get<std::uint64_t>(fadt, 120), 0x64U);
    EXPECT_EQ(get<std::uint8_t>(fadt, 128), 0xfe);
    EXPECT_EQ(get<std::uint32_t>(fadt, 112) & 1 << 8, 0U) << "the timer has 24 bits";
    pc.legacy = false;
    EXPECT_TRUE(boot::acpi_config(pc, 1).hardware_reduced);
}

TEST(Acpi, DoesNotWriteWhereNoRamIs) {
    Ram ram({{0, 0xa'0000}, {mib, mib}});
    EXPECT_TRUE(says(error_of([&] { boot::write_acpi(*ram, {}); }), "ACPI tables need"));
}

// ACPICA's own disassembler and compiler as judge: what it disassembles, it must compile without
// error again.
class Iasl : public ::testing::Test {
  protected:
    void SetUp() override {
        if (std::system("command -v iasl >/dev/null") != 0)
            GTEST_SKIP() << "iasl (acpica-tools) is not installed";
        char name[] = "/tmp/hwv-acpi-XXXXXX";
        ASSERT_NE(mkdtemp(name), nullptr);
        directory_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }
    std::string disassemble(const Bytes &table) {
        std::ofstream{directory_ + "/t.aml", std::ios::binary}.write(
            reinterpret_cast<const char *>(table.data()),
            static_cast<std::streamsize>(table.size()));
        const auto run =
            "cd " + directory_ + " && iasl -d t.aml >log 2>&1 && iasl t.dsl >>log 2>&1";
        EXPECT_EQ(std::system(run.c_str()), 0) << read("log");
        EXPECT_NE(read("log").find(" 0 Errors"), std::string::npos) << read("log");
        return read("t.dsl");
    }
    std::string read(const std::string &name) {
        std::stringstream text;
        text << std::ifstream{directory_ + "/" + name}.rdbuf();
        return text.str();
    }

  private:
    std::string directory_;
};

TEST_F(Iasl, AcceptsTheDsdt) {
    const auto text = disassemble(boot::build_dsdt(full_config()));
    for (const auto *part : {"Device (COM1)", "Device (COM2)", "EisaId (\"PNP0501\")",
                             "Device (PCI0)", "Device (V000)", "\"LNRO0005\"", "\"QEMU0001\"",
                             "Name (_PRT", "Name (\\_S5", "EisaId (\"PNP0B00\")",
                             "EisaId (\"PNP0303\")", "Device (C002)", "IRQNoFlags", "QWordMemory"})
        EXPECT_NE(text.find(part), std::string::npos) << part;
}

TEST_F(Iasl, AcceptsTheMadt) {
    const auto text = disassemble(boot::build_madt(full_config()));
    for (const auto *part :
         {"[Processor Local APIC]", "[Processor Local x2APIC]", "[I/O APIC]",
          "[Interrupt Source Override]", "[Local APIC NMI]", "[Local x2APIC NMI]"})
        EXPECT_NE(text.find(part), std::string::npos) << part;
    EXPECT_EQ(text.find("**** "), std::string::npos) << text;
}

TEST_F(Iasl, AcceptsTheHpet) {
    boot::AcpiConfig config = full_config();
    config.hpet = machine::HpetDescription{0xfed0'0000, 0x400, 0x8086'a201, 5000};
    const auto text = disassemble(boot::build_hpet(config));
    for (const auto *part : {"Hardware Block ID : 8086A201", "Address : 00000000FED00000",
                             "Minimum Clock Ticks : 1388", "Space ID : 00 [SystemMemory]"})
        EXPECT_NE(text.find(part), std::string::npos) << part << text;
    EXPECT_NE(disassemble(boot::build_dsdt(config)).find("EisaId (\"PNP0103\")"),
              std::string::npos);
    EXPECT_EQ(boot::build_acpi(config, 0).tables.size(),
              boot::build_acpi(full_config(), 0).tables.size() + 1);
}

TEST_F(Iasl, AcceptsTheFadt) {
    boot::AcpiConfig config;
    config.gpe0 = 0x620;
    config.gpe0_length = 8;
    for (const bool reduced : {false, true}) {
        config.hardware_reduced = reduced;
        const auto text = disassemble(boot::build_fadt(config, 0xe'0080, 0xe'0100));
        EXPECT_NE(text.find(reduced ? "Hardware Reduced (V5) : 1" : "Hardware Reduced (V5) : 0"),
                  std::string::npos);
        EXPECT_NE(text.find("Reset Register Supported (V2) : 1"), std::string::npos);
    }
}

} // namespace
} // namespace boot_test
