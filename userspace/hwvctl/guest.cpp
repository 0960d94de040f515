// SPDX-License-Identifier: GPL-2.0-only
// guest.cpp - setting a guest up and ending it. Serving its exits: processor.cpp.
#include "hwvctl/guest.hpp"
#include <cstdio>
#include <cstring>
#include "boot/acpi.hpp"
#include "hwv/error.hpp"
#include "hwvctl/ide.hpp"
#include "machine/display/font.hpp"

namespace hwvctl {
namespace {

// Of Debian's package seabios.
constexpr const char *vga_bios = "/usr/share/seabios/vgabios-stdvga.bin";

std::uint64_t vm_flags(const RunOptions &) { return 0; }

// Whose guest may look for an address line 20 that is closed, or for RAM that is read-only.
bool is_legacy(const RunOptions &options) {
    return options.start == Start::bios ||
           (options.boot.flat && options.boot.flat->mode == boot::Mode::real);
}

void tell_user(const std::string &line) { std::fprintf(stderr, "hwvctl: %s\n", line.c_str()); }

machine::DebugSink debug_sink(const std::string &path) {
    if (path.empty()) return {};
    std::FILE *out = path == "-" ? stderr : std::fopen(path.c_str(), "w");
    if (!out) hwv::fail("open the debug console's file '" + path + "'");
    return [out](std::span<const std::uint8_t> bytes) {
        std::fwrite(bytes.data(), 1, bytes.size(), out);
        std::fflush(out);
    };
}

} // namespace

Guest::Guest(const RunOptions &options)
    : vm_{system_.create_vm(options.name, vm_flags(options),
                            options.own ? hwv::Tenure::own : hwv::Tenure::automatic)},
      layout_{machine::pc_ram_layout(options.memory)},
      vga_{options.vga.has_value()},
      ram_{map_memory(options)},
      vm_memory_{vm_, ram_slots(options)},
      kernel_events_{vm_} {
    machine_ = std::make_unique<machine::Machine>(
        machine_config(options),
        machine::MachineSinks{*this, *this, *this, [this](machine::PowerEvent e) { power(e); },
                              &vm_memory_, &kernel_events_,
                              is_legacy(options) ? &vm_memory_ : nullptr});
    added_ =
        add_devices(*machine_, options.devices,
                    {machine_->loop(), [this](machine::PowerEvent e) { power(e); }, tell_user});
    add_ide(*machine_, options.devices);
    make_processors(options);
    load(options);
}

machine::MachineConfig Guest::machine_config(const RunOptions &options) {
    machine::MachineConfig config;
    config.legacy = options.legacy;
    config.hpet = options.hpet;
    config.pci = options.pci;
    config.vga = vga_;
    config.keyboard = options.keyboard;
    config.a20_gate = options.cpus == 1;
    if (vga_ && options.start == Start::bios) config.vga_rom = boot::read_file(vga_bios);
    config.memory_below_4g = layout_[0].size;
    config.memory_above_4g = layout_.size() > 1 ? layout_[1].size : 0;
    config.ram = memory_view();
    config.serial[0] = machine::serial_factory(options.serial);
    if (!config.serial[0])
        throw UsageError{"--serial: '" + options.serial +
                         "' is none of stdio, null, pty, unix:PATH, file:PATH, a path"};
    config.debug_output = debug_sink(options.debug_console);
    config.notice = tell_user;
    return config;
}

// CPUID leaf 1 says how many logical processors the package has; the kernel makes the other leaves
// on topology of it, and each vCPU's own ids.
void Guest::make_processors(const RunOptions &options) {
    const unsigned count = options.cpus;
    if (const unsigned most = system_.info().max_vcpus; count > most)
        throw UsageError{"--cpus: this hwv has at most " + std::to_string(most)};
    std::vector<hwv_cpuid_entry> cpuid = system_.supported_cpuid();
    for (hwv_cpuid_entry &entry : cpuid)
        if (entry.leaf == 1) entry.ebx = (entry.ebx & ~0xff'0000u) | count << 16;
    board_ = std::make_unique<Board>(Board{system_, vm_, memory_view(), *machine_, course_, count,
                                           options.start != Start::image});
    for (unsigned id = 0; id < count; ++id)
        processors_.push_back(std::make_unique<Processor>(*board_, id, cpuid));
}

Guest::~Guest() {
    if (machine_) machine_->stop();
}

hwv::Mapping Guest::map_memory(const RunOptions &options) {
    constexpr std::size_t huge = 2u << 20;
    void *at = ::mmap(nullptr, options.memory + huge, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        hwv::fail("reserve " + std::to_string(options.memory >> 20) + " MiB of guest memory");
    hwv::Mapping mapping{at, options.memory + huge};
    // Guest-physical and host addresses agree in their 2 MiB offset: only then can a 2 MiB page
    // serve both.
    auto base = (reinterpret_cast<std::uintptr_t>(at) + huge - 1) & ~(huge - 1);
    ::madvise(reinterpret_cast<void *>(base), options.memory,
              options.huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return mapping;
}

std::vector<machine::RamRegion> Guest::regions(void *mapping) const {
    constexpr std::size_t huge = 2u << 20;
    auto *base = reinterpret_cast<std::byte *>(
        (reinterpret_cast<std::uintptr_t>(mapping) + huge - 1) & ~(huge - 1));
    std::vector<machine::RamRegion> out;
    for (const machine::GpaRange &range : layout_) {
        out.push_back({range.start, {base, range.size}});
        base += range.size;
    }
    using machine::VgaMemory;
    return vga_ ? machine::without(out, {VgaMemory::window_first, VgaMemory::window_size}) : out;
}

std::vector<machine::RamRegion> Guest::ram_slots(const RunOptions &options) const {
    const std::vector<machine::RamRegion> ram = regions(ram_.data());
    return is_legacy(options) ? machine::LowMemory::pieces(ram) : ram;
}

machine::GuestMemory Guest::memory_view() { return machine::GuestMemory{regions(ram_.data())}; }

void Guest::load(const RunOptions &options) {
    if (options.start != Start::image) {
        firmware_ = std::make_unique<Firmware>(options, *machine_);
        return processors_[0]->enter_at(Firmware::entry());
    }
    if (machine_->pci_host()) {
        const std::lock_guard lock{machine_->lock()};
        machine_->pci_host()->assign_resources(layout_.back().end());
    }
    boot::Request request = options.boot;
    if (options.vga) request.screen = start_screen(*options.vga);
    if (!request.flat)
        request.acpi_rsdp = boot::write_acpi(
            board_->memory, boot::acpi_config(machine_->description(), options.cpus));
    processors_[0]->enter_at(boot::load(board_->memory, request));
}

// A screen as firmware leaves it, for kernels that are started without one.
boot::Screen Guest::start_screen(const VgaMode &mode) {
    const std::lock_guard lock{machine_->lock()};
    machine::Vga &vga = *machine_->vga();
    vga.start_text(machine::host_font());
    if (mode.width == 0) return {};
    vga.start_linear(mode.width, mode.height, mode.bits);
    boot::Screen screen;
    screen.address = machine_->vga_function()->frame_buffer_address();
    screen.width = mode.width;
    screen.height = mode.height;
    screen.bits = mode.bits;
    screen.pitch = vga.linear_mode()->pitch;
    return screen;
}

void Guest::start_processors() {
    try {
        for (std::size_t i = 0; i < processors_.size(); ++i)
            processors_[i]->start(i + 1 < processors_.size() ? processors_[i + 1].get() : nullptr);
    } catch (const std::exception &e) {
        course_.end({status::host_error, std::string{"cannot start a vCPU's thread: "} + e.what()});
    }
}

Ending Guest::run() {
    machine_->start();
    start_processors();
    const Ending ending = course_.wait();
    for (const auto &processor : processors_)
        processor->join();
    machine_->stop();
    return ending;
}

std::vector<hwv::Stats> Guest::stats() const {
    std::vector<hwv::Stats> all;
    for (const auto &processor : processors_)
        all.push_back(processor->stats());
    return all;
}

std::optional<std::vector<std::uint64_t>> Guest::msrs(std::vector<std::uint32_t> which) {
    return processors_[0]->msrs(std::move(which), std::chrono::seconds{2});
}

void Guest::quit() { course_.end({status::quit, "ended by a signal"}); }

// Called with the machine's lock held: only notes what happened. run() stops the vCPUs.
void Guest::power(machine::PowerEvent event) {
    using Kind = machine::PowerEvent::Kind;
    switch (event.kind) {
    case Kind::none: break;
    case Kind::poweroff: course_.end({status::powered_off, {}}); break;
    case Kind::reset: course_.end({status::reset, "the guest asked for a reset"}); break;
    case Kind::panic: course_.end({status::panic, "the guest's kernel panicked"}); break;
    case Kind::quit: course_.end({status::quit, {}}); break;
    case Kind::debug_exit:
        course_.end({status::debug_exit + static_cast<int>(event.code >> 1 & 0x7f), {}});
        break;
    }
}

void Guest::deliver(std::uint64_t address, std::uint32_t data) noexcept {
    try {
        vm_.msi(address, data);
    } catch (const hwv::Error &) { // a message that names no processor is lost, as on a bus
    }
}

void Guest::level_vectors(const machine::VectorBitmap &vectors) noexcept {
    hwv_eoi_exits request{};
    for (unsigned i = 0; i < 4; ++i)
        request.vectors[i] = vectors[i];
    try {
        vm_.eoi_exits(request);
    } catch (const hwv::Error &e) {
        course_.end({status::host_error, e.what()});
    }
}

void Guest::raise(bool level) noexcept {
    if (!level) return;
    try {
        if (!processors_.empty()) processors_[0]->kick();
    } catch (const hwv::Error &e) {
        course_.end({status::host_error, e.what()});
    }
}

} // namespace hwvctl
