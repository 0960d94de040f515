// SPDX-License-Identifier: GPL-2.0-only
// run_options.hpp - the command line of `hwvctl run`.
#pragma once
#include <cstdint>
#include <optional>
#include "boot/load.hpp"
#include "hwvctl/command.hpp"
#include "hwvctl/devices.hpp"
#include "hwvctl/display_options.hpp"

namespace hwvctl {

enum class Start { image, bios, uefi };

struct RunOptions {
    Start start = Start::image;
    boot::Request boot;     // kernel, initrd, modules, command line
    std::string firmware;   // another image than the start's own
    std::string uefi_vars;  // where UEFI's variables stay; empty: nowhere
    std::string boot_order; // of "cd", "disk", "net", separated by commas
    std::uint64_t memory = 256ull << 20;
    unsigned cpus = 1;
    std::string name;
    std::string serial = "stdio";
    std::string debug_console; // file for ports 0xe9 and 0x402; empty: none
    std::string policy;        // file of rules; empty: none
    bool legacy = true;
    bool hpet = false;
    std::optional<VgaMode> vga;
    std::optional<VncOptions> vnc;
    bool keyboard = false;
    bool pci = false; // asked for, or needed by a device
    Devices devices;
    bool huge_pages = true;
    bool own = false;
    bool stats = false;
    bool json = false;
};

// nullopt: help was asked for and printed. Throws UsageError.
std::optional<RunOptions> parse_run(const Arguments &arguments);

// "256M", "1G", "65536K", "1048576": bytes. Throws UsageError.
std::uint64_t parse_size(const std::string &text);

} // namespace hwvctl
