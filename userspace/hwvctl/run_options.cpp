// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/run_options.hpp"
#include <boost/program_options.hpp>
#include <charconv>
#include <iostream>
#include "boot/error.hpp"
#include "hwv.h"

namespace hwvctl {
namespace {

namespace po = boost::program_options;

constexpr std::uint64_t page = 4096, smallest = 1ull << 20, largest = 1ull << 40;

constexpr const char *examples = R"(
FILE is recognised by its content: a Linux bzImage, a multiboot 2, PVH or multiboot 1 ELF, the first that it is; --boot takes it
for another one of them, --flat any file as it is.

examples:
  hwvctl run --kernel /boot/vmlinuz --initrd initrd.cpio --append "console=ttyS0 quiet" --mem 512M
  hwvctl run --kernel kernel.elf --module "config.bin first" --append "a b" --serial file:log
  hwvctl run --kernel xen --append console=com1 --module "vmlinuz console=hvc0" --module initrd.cpio
  hwvctl run --kernel boot.bin --flat 0x7c00,real --serial pty
  hwvctl run --cd debian.iso --mem 1G

On a terminal, Ctrl-A x ends the guest, Ctrl-A h lists the other keys.

exit status:
  0 the guest powered off          4 the guest's kernel panicked (pvpanic)
  1 hwv or the host failed         5 triple fault
  2 wrong usage                    6 the guest cannot go on (see the message)
  3 the guest asked for a reset    7 ended by Ctrl-A x, a signal, hwvctl kill
  128 + N  the guest wrote N (below 128) to the debug-exit port 0xf4
)";

po::options_description description() {
    po::options_description d{"hwvctl run - launch a guest\n\noptions", 100};
    auto add = d.add_options();
    add("kernel", po::value<std::string>()->value_name("FILE"),
        "the image to start; may be packed by gzip");
    add("initrd", po::value<std::string>()->value_name("FILE"),
        "initial ram disk of a Linux kernel");
    add("module", po::value<std::vector<std::string>>()->value_name("\"FILE [ARGS]\"")->composing(),
        "a multiboot or PVH module; may be repeated");
    add("append", po::value<std::string>()->value_name("TEXT"), "the kernel's command line");
    add("boot", po::value<std::string>()->default_value("auto")->value_name("KIND"),
        "what FILE is: auto, linux, pvh, multiboot, multiboot2, or flat, which without --flat is "
        "at 0x7c00 in real mode; or bios, which takes no FILE and is what "
        "disks without a FILE mean; or uefi, likewise");
    add("firmware", po::value<std::string>()->value_name("FILE"),
        "the firmware's image, if it is not to be that of Debian's package");
    add("uefi-vars", po::value<std::string>()->value_name("FILE"),
        "a flash with the bytes of FILE, where --boot uefi keeps its variables from run to run; "
        "made of Debian's template if there is none");
    add("boot-order", po::value<std::string>()->default_value("cd,disk,net")->value_name("LIST"),
        "where the BIOS looks first");
    add("flat", po::value<std::string>()->value_name("ADDR[,MODE]"),
        "load the file at ADDR and start there; MODE is real (default), prot or long");
    add("mem", po::value<std::string>()->default_value("256M")->value_name("SIZE"),
        "guest memory, 1M to 1024G; suffixes K M G");
    add("cpus", po::value<unsigned>()->default_value(1)->value_name("N"),
        "processors, 1 to 64; more than the host has only cost time");
    add("name", po::value<std::string>()->value_name("NAME"),
        "what observers call the VM (at most 31 bytes)");
    add("serial", po::value<std::string>()->default_value("stdio")->value_name("WHERE"),
        "COM1: stdio, null, pty, unix:PATH, file:PATH or a path");
    add("debugcon", po::value<std::string>()->value_name("FILE"),
        "write what the guest sends to ports 0xe9 and 0x402 to FILE (- is stderr)");
    add("vga", po::value<std::string>()->value_name("MODE"),
        "a VGA, keyboard and mouse, for hwvctl screenshot and sendkey: text, or a picture of "
        "WIDTHxHEIGHT[xBITS] from the start");
    add("display", po::value<std::string>()->default_value("none")->value_name("WHERE"),
        "show the VGA to VNC viewers: vnc=:N on this machine's own port 5900+N, vnc=ADDRESS:N, "
        "vnc=unix:PATH; ,password=FILE has its first line asked for; brings --vga text");
    add("keyboard", "a keyboard and a mouse without a VGA");
    add("hpet", "a high precision event timer (HPET) beside PIT and RTC");
    add("no-legacy", "a minimal machine: no PIC, PIT, i8042; hardware-reduced ACPI");
    describe_devices(d);
    add("pci", "a PCI host bridge, even if no option adds a device to it");
    add("no-hugepages", "do not ask the host for 2 MiB pages");
    add("own", "switch SVM/VMX on, and keep KVM out meanwhile, even where its module is loaded; "
               "without it "
               "hwv then rides beside KVM, which on AMD costs a TLB flush each time the vCPU "
               "leaves its CPU");
    add("policy", po::value<std::string>()->value_name("FILE"),
        "rules for exits, from the first instruction on, as in hwvctl policy --help; no stops");
    add("stats", "print a table of exits when the guest has ended");
    add("json", "print the exits as JSON instead of a table");
    add("help,h", "this text");
    return d;
}

std::string text(const po::variables_map &values, const char *name) {
    return values.count(name) ? values[name].as<std::string>() : std::string{};
}

po::variables_map parse(const po::options_description &options, const Arguments &arguments) {
    po::variables_map values;
    try {
        po::store(po::command_line_parser(arguments).options(options).positional({}).run(), values);
    } catch (const po::error &e) {
        throw UsageError{e.what()};
    }
    return values;
}

boot::FlatOptions parse_flat(const std::string &text) {
    try {
        return boot::parse_flat(text);
    } catch (const boot::Error &e) {
        throw UsageError{e.what()};
    }
}

// --boot and --flat, which is a kind of its own.
void choose_boot(const po::variables_map &values, boot::Request &request) {
    const auto kind = text(values, "boot");
    if (values.count("flat") && kind != "auto" && kind != "flat")
        throw UsageError{"--flat ADDR and --boot " + kind + " exclude each other"};
    if (values.count("flat")) {
        request.flat = parse_flat(text(values, "flat"));
    } else if (kind == "flat") {
        request.flat = parse_flat("0x7c00,real");
    } else if (kind != "auto") {
        request.kind = boot::kind_named(kind);
        if (!request.kind)
            throw UsageError{"--boot " + kind +
                             ": wants auto, linux, pvh, multiboot, multiboot2, flat, bios or uefi"};
    }
}

// Firmware or a kernel, and which.
void choose_start(const po::variables_map &values, RunOptions &out) {
    const std::string how = text(values, "boot");
    out.boot.kernel = text(values, "kernel");
    const bool from_disk = how == "auto" && out.boot.kernel.empty() &&
                           (!out.devices.disks.empty() || !out.devices.cds.empty());
    if (how == "bios" || from_disk) out.start = Start::bios;
    if (how == "uefi") out.start = Start::uefi;
    out.firmware = text(values, "firmware");
    out.uefi_vars = text(values, "uefi-vars");
    if (!out.uefi_vars.empty() && out.start != Start::uefi)
        throw UsageError{"--uefi-vars belongs to --boot uefi"};
    out.boot_order = text(values, "boot-order");
    if (out.start == Start::image) {
        if (out.boot.kernel.empty())
            throw UsageError{"--kernel FILE is missing, or --boot bios or uefi"};
        if (!out.firmware.empty())
            throw UsageError{"--firmware belongs to --boot bios and --boot uefi"};
        choose_boot(values, out.boot);
    } else if (!out.boot.kernel.empty()) {
        throw UsageError{"--boot " + how + " starts from disks: it takes no --kernel"};
    }
}

} // namespace

std::uint64_t parse_size(const std::string &text) {
    std::uint64_t value = 0;
    const char *end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    unsigned shift = 0;
    const char suffix =
        rest == end ? ' ' : static_cast<char>(std::toupper(static_cast<unsigned char>(*rest)));
    if (suffix == 'K')
        shift = 10;
    else if (suffix == 'M')
        shift = 20;
    else if (suffix == 'G')
        shift = 30;
    const bool bad_tail = rest != end && (shift == 0 || rest + 1 != end);
    if (error != std::errc{} || bad_tail || value > largest >> shift)
        throw UsageError{"'" + text + "' is no size: a number with K, M or G, at most 1024G"};
    return value << shift;
}

std::optional<RunOptions> parse_run(const Arguments &arguments) {
    const po::options_description options = description();
    const po::variables_map values = parse(options, arguments);
    if (values.count("help")) {
        std::cout << options << examples;
        return std::nullopt;
    }
    RunOptions out;
    out.devices = parse_devices(values);
    choose_start(values, out);
    out.boot.initrd = text(values, "initrd");
    if (values.count("module")) out.boot.modules = values["module"].as<std::vector<std::string>>();
    out.boot.command_line = text(values, "append");
    out.memory = parse_size(text(values, "mem"));
    if (out.memory < smallest || out.memory % page)
        throw UsageError{"--mem wants a multiple of 4K from 1M up"};
    out.cpus = values["cpus"].as<unsigned>();
    if (out.cpus < 1 || out.cpus > HWV_MAX_VCPUS)
        throw UsageError{"--cpus wants 1 to " + std::to_string(HWV_MAX_VCPUS)};
    out.name = text(values, "name");
    if (out.name.size() >= HWV_NAME_LEN) throw UsageError{"--name: at most 31 bytes"};
    out.serial = text(values, "serial");
    out.debug_console = text(values, "debugcon");
    out.policy = text(values, "policy");
    out.legacy = !values.count("no-legacy");
    if (out.devices.console == "stdio" && out.serial == "stdio")
        throw UsageError{"--console stdio: COM1 has the terminal; give it up with --serial null"};
    // Without a host bridge a BIOS knows nothing of fw_cfg.
    out.pci = values.count("pci") || !out.devices.empty() || out.start != Start::image;
    if (values.count("vga")) out.vga = parse_vga(text(values, "vga"));
    out.vnc = parse_display(text(values, "display"));
    if (out.vnc && !out.vga) out.vga.emplace();
    out.keyboard = values.count("keyboard") || out.vga;
    if (out.keyboard && !out.legacy)
        throw UsageError{"--no-legacy leaves no place for a VGA, a keyboard or a mouse"};
    out.hpet = values.count("hpet");
    if (out.hpet && !out.legacy) throw UsageError{"--no-legacy leaves no place for an HPET"};
    out.huge_pages = !values.count("no-hugepages");
    out.own = values.count("own");
    out.json = values.count("json");
    out.stats = values.count("stats") || out.json;
    return out;
}

} // namespace hwvctl
