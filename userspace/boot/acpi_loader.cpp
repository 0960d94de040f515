// SPDX-License-Identifier: GPL-2.0-only
#include "boot/acpi_loader.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace boot {
namespace {

constexpr std::size_t name_bytes = 56, command_bytes = 128;
constexpr std::uint32_t allocate = 1, add_pointer = 2, add_checksum = 3;
constexpr std::uint8_t zone_high = 1, zone_fseg = 2;
constexpr std::uint64_t header_bytes = 36, checksum_offset = 9;

using Name = std::array<char, name_bytes>;

Name name_of(std::string_view text) {
    Name name{};
    std::copy(text.begin(), text.end(), name.begin());
    return name;
}

class Script {
  public:
    void allocate_file(const char *file, std::uint32_t alignment, std::uint8_t zone) {
        begin(allocate);
        append(bytes_, name_of(file));
        append(bytes_, alignment);
        append(bytes_, zone);
        end();
    }
    // `size` bytes at `offset` of `in` hold an offset into `to`.
    void pointer(const char *in, const char *to, std::uint64_t offset, std::uint8_t size) {
        begin(add_pointer);
        append(bytes_, name_of(in));
        append(bytes_, name_of(to));
        append(bytes_, static_cast<std::uint32_t>(offset));
        append(bytes_, size);
        end();
    }
    void checksum(const char *in, std::uint64_t at, std::uint64_t start, std::uint64_t length) {
        begin(add_checksum);
        append(bytes_, name_of(in));
        append(bytes_, static_cast<std::uint32_t>(at));
        append(bytes_, static_cast<std::uint32_t>(start));
        append(bytes_, static_cast<std::uint32_t>(length));
        end();
    }
    Bytes take() { return std::move(bytes_); }

  private:
    void begin(std::uint32_t command) { append(bytes_, command); }
    void end() { bytes_.resize(align_up(bytes_.size(), command_bytes)); }

    Bytes bytes_;
};

// FADT, "Fixed Feature Flags": HW_REDUCED_ACPI, and then no FACS is pointed to.
bool hardware_reduced(ByteView fadt) { return (get<std::uint32_t>(fadt, 112) >> 20 & 1) != 0; }

bool has_signature(ByteView table, std::string_view signature) {
    return std::memcmp(table.data(), signature.data(), signature.size()) == 0;
}

struct Place {
    std::uint64_t offset;
    std::uint8_t size;
};

// Where in a table there are addresses of others. A pointer to offset 0 of the file would look like
// none: the FACS is there, and that pointer is always one.
std::vector<Place> pointers_of(ByteView table) {
    std::vector<Place> places;
    if (has_signature(table, "FACP")) {
        if (!hardware_reduced(table)) places.push_back({36, 4}); // FIRMWARE_CTRL
        places.push_back({40, 4});                               // DSDT
        places.push_back({140, 8});                              // X_DSDT
    }
    const bool wide = has_signature(table, "XSDT");
    if (wide || has_signature(table, "RSDT"))
        for (auto at = header_bytes; at < table.size(); at += wide ? 8 : 4)
            places.push_back({at, static_cast<std::uint8_t>(wide ? 8 : 4)});
    return places;
}

} // namespace

AcpiFiles acpi_files(const AcpiConfig &config) {
    AcpiTables built = build_acpi(config, 0);
    Script script;
    script.allocate_file(acpi_tables_file, 64, zone_high);
    script.allocate_file(acpi_rsdp_file, 16, zone_fseg);
    for (const auto &place : built.tables) {
        const auto table = std::span{built.blob}.subspan(place.start, place.size);
        const auto pointers = pointers_of(table);
        for (const auto &pointer : pointers)
            script.pointer(acpi_tables_file, acpi_tables_file, place.start + pointer.offset,
                           pointer.size);
        if (pointers.empty()) continue;
        put(table, checksum_offset, std::uint8_t{0});
        script.checksum(acpi_tables_file, place.start + checksum_offset, place.start, place.size);
    }
    put(built.rsdp, 8, std::uint8_t{0});
    put(built.rsdp, 32, std::uint8_t{0});
    script.pointer(acpi_rsdp_file, acpi_tables_file, 16, 4);
    script.pointer(acpi_rsdp_file, acpi_tables_file, 24, 8);
    script.checksum(acpi_rsdp_file, 8, 0, 20);
    script.checksum(acpi_rsdp_file, 32, 0, built.rsdp.size());
    return {std::move(built.blob), std::move(built.rsdp), script.take()};
}

} // namespace boot
