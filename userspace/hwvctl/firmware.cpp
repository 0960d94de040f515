// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/firmware.hpp"
#include <algorithm>
#include <array>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include "boot/acpi_loader.hpp"

namespace hwvctl {
namespace {

using machine::firmware::FwCfg;

struct Image {
    const char *path;
    const char *package;
};
constexpr Image bios_image{"/usr/share/seabios/bios-256k.bin", "seabios"};
// Code and variables in one: read-only, so that it keeps its variables in RAM, for one run.
constexpr Image uefi_image{"/usr/share/ovmf/OVMF.fd", "ovmf"};

// Code alone, for each size of its variables.
struct Pair {
    Image code;
    const char *variables;
    std::uintmax_t bytes;
};
constexpr std::array<Pair, 2> uefi_pairs{{
    {{"/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf"}, "/usr/share/OVMF/OVMF_VARS_4M.fd", 528 << 10},
    {{"/usr/share/OVMF/OVMF_CODE.fd", "ovmf"}, "/usr/share/OVMF/OVMF_VARS.fd", 128 << 10},
}};

// The image for the file of variables, which is there afterwards.
const Image &image_for(const std::string &variables) {
    namespace fs = std::filesystem;
    std::error_code error;
    if (!fs::exists(variables)) fs::copy_file(uefi_pairs[0].variables, variables, error);
    if (error)
        throw boot::Error(variables + " of " + uefi_pairs[0].variables + ": " + error.message());
    const std::uintmax_t bytes = fs::file_size(variables, error);
    for (const Pair &pair : uefi_pairs)
        if (bytes == pair.bytes) return pair.code;
    throw boot::Error(variables + ": no variables of Debian's OVMF, which have 528 or 128 KiB");
}

boot::Bytes read_image(const RunOptions &options) {
    if (!options.firmware.empty()) return boot::read_file(options.firmware);
    const Image &image = !options.uefi_vars.empty()     ? image_for(options.uefi_vars)
                         : options.start == Start::uefi ? uefi_image
                                                        : bios_image;
    try {
        return boot::read_file(image.path);
    } catch (const boot::Error &error) {
        throw boot::Error(std::string{error.what()} + ": install Debian's package " +
                          image.package + ", or name an image by --firmware");
    }
}

// "etc/e820": base, length, type of each piece of RAM.
boot::Bytes memory_map(std::uint64_t ram) {
    boot::Bytes map;
    constexpr std::uint32_t usable = 1;
    for (const auto &range : machine::pc_ram_layout(ram)) {
        boot::append(map, range.start);
        boot::append(map, range.size);
        boot::append(map, usable);
    }
    return map;
}

// What SeaBIOS reads from CMOS, of three tries in a row: 1 is a floppy, 2 a disk, 3 a CD, 4 the
// net.
std::array<std::uint8_t, 3> boot_order(const std::string &text) {
    std::array<std::uint8_t, 3> order{};
    std::size_t used = 0;
    std::istringstream words{text};
    for (std::string word; std::getline(words, word, ',');) {
        const std::uint8_t number = word == "disk" ? 2 : word == "cd" ? 3 : word == "net" ? 4 : 0;
        if (number == 0 || used == order.size() || std::count(order.begin(), order.end(), number))
            throw UsageError{"--boot-order " + text + ": wants cd, disk and net in some order"};
        order[used++] = number;
    }
    return order;
}

} // namespace

Firmware::Firmware(const RunOptions &options, machine::Machine &machine) : config_{machine.ram()} {
    const boot::Bytes image = read_image(options);
    const std::lock_guard guard{machine.lock()};
    if (machine.memory_slots() == nullptr) throw std::logic_error("nobody maps the firmware");
    try {
        rom_.emplace(image, *machine.memory_slots());
    } catch (const std::invalid_argument &error) {
        throw boot::Error(options.firmware + ": " + error.what());
    }
    rom_->shadow(machine.ram());
    if (!options.uefi_vars.empty())
        flash_.emplace(options.uefi_vars, rom_->gpa(), *machine.memory_slots(), machine.mmio());
    if (!config_.attach(machine.ports())) throw std::logic_error("fw_cfg's ports are taken");
    describe(options, machine);
}

void Firmware::describe(const RunOptions &options, machine::Machine &machine) {
    const auto cpus = static_cast<std::uint16_t>(options.cpus);
    boot::Bytes size;
    boot::append(size, options.memory);
    config_.set(FwCfg::ram_size, size);
    config_.set16(FwCfg::cpu_count, cpus);
    config_.set16(FwCfg::max_cpus, cpus);
    config_.set16(FwCfg::boot_menu, 0);
    boot::Bytes boot_cpus;
    boot::append(boot_cpus, cpus);
    config_.set_file("etc/boot-cpus", boot_cpus);
    const auto order = boot_order(options.boot_order);
    machine.rtc().set_boot_order(order[0], order[1], order[2]);
    config_.set_file("etc/e820", memory_map(options.memory));
    auto acpi = boot::acpi_files(boot::acpi_config(machine.description(), cpus));
    config_.set_file(boot::acpi_tables_file, std::move(acpi.tables));
    config_.set_file(boot::acpi_rsdp_file, std::move(acpi.rsdp));
    config_.set_file(boot::acpi_loader_file, std::move(acpi.loader));
    // Nothing to start from: a second to be read, then the reset that ends the guest.
    config_.set_file64("etc/boot-fail-wait", 1000);
    // Without a screen the BIOS's console, and that of what it starts, is the first serial port.
    if (!options.vga) config_.set_file64("etc/sercon-port", 0x3f8);
}

// "Processor State After Reset": real mode, the code segment's base just below 4 GiB.
boot::Entry Firmware::entry() {
    boot::Entry entry;
    boot::enter_real(entry, 0);
    entry.cs.selector = 0xf000;
    entry.cs.base = 0xffff'0000;
    entry.rip = 0xfff0;
    entry.cr0 = 0x6000'0010; // caches off
    entry.gpr[boot::rdx] = 0x600;
    entry.idt = {0, 0xffff};
    return entry;
}

} // namespace hwvctl
