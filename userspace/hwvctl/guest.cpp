// SPDX-License-Identifier: GPL-2.0-only
// guest.cpp - setting a guest up and ending it. Serving its exits: serve.cpp.
#include "hwvctl/guest.hpp"
#include <cstdio>
#include <cstring>
#include "boot/acpi.hpp"
#include "hwv/error.hpp"

namespace hwvctl {
namespace {

std::uint64_t vm_flags(const RunOptions &) { return 0; }

void to_run_page(hwv_segment &to, const boot::Segment &from) {
    to = {from.base, from.limit, from.selector, from.attributes()};
}

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
      vcpu_{vm_.create_vcpu(0)},
      layout_{machine::pc_ram_layout(options.memory)},
      ram_{map_memory(options)},
      device_memory_{vm_, static_cast<std::uint32_t>(layout_.size())},
      kernel_events_{vm_} {
    const std::vector<hwv_cpuid_entry> cpuid = system_.supported_cpuid();
    vcpu_.set_cpuid(cpuid);
    set_up_processor();
    machine::MachineConfig config;
    config.legacy = options.legacy;
    config.pci = options.pci;
    config.memory_below_4g = layout_[0].size;
    config.memory_above_4g = layout_.size() > 1 ? layout_[1].size : 0;
    config.ram = memory_view();
    config.serial[0] = machine::serial_factory(options.serial);
    if (!config.serial[0])
        throw UsageError{"--serial: '" + options.serial +
                         "' is none of stdio, null, pty, unix:PATH, file:PATH, a path"};
    config.debug_output = debug_sink(options.debug_console);
    config.notice = [](const std::string &line) {
        std::fprintf(stderr, "hwvctl: %s\n", line.c_str());
    };
    machine_ = std::make_unique<machine::Machine>(
        std::move(config),
        machine::MachineSinks{*this, *this, *this, [this](machine::PowerEvent e) { power(e); },
                              &device_memory_, &kernel_events_});
    load(options);
}

Guest::~Guest() {
    if (machine_) machine_->stop();
}

// What firmware leaves behind and kernels take for granted: memory is write-back but for the VGA
// window (without MTRRs Linux does without PAT too), and the PIC and NMI reach the processor
// through the local APIC ("virtual wire", Intel MultiProcessor Specification, "Virtual Wire Mode").
void Guest::set_up_processor() {
    constexpr std::uint64_t write_back = 0x0606'0606'0606'0606;
    for (const std::uint32_t fixed :
         {0x250, 0x258, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f})
        vcpu_.set_msr(fixed, write_back);
    vcpu_.set_msr(0x2ff, 0xc06);      // MTRRdefType: on, fixed ones too, write-back
    vcpu_.set_apic_reg(0xf0, 0x1ff);  // SVR: on
    vcpu_.set_apic_reg(0x350, 0x700); // LVT0: ExtINT
    vcpu_.set_apic_reg(0x360, 0x400); // LVT1: NMI
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
    std::uint32_t slot = 0;
    for (const machine::GpaRange &range : layout_) {
        vm_.set_memory(slot++, 0, range.start, range.size, reinterpret_cast<void *>(base));
        base += range.size;
    }
    return mapping;
}

machine::GuestMemory Guest::memory_view() {
    constexpr std::size_t huge = 2u << 20;
    auto *base = reinterpret_cast<std::byte *>(
        (reinterpret_cast<std::uintptr_t>(ram_.data()) + huge - 1) & ~(huge - 1));
    std::vector<machine::RamRegion> regions;
    for (const machine::GpaRange &range : layout_) {
        regions.push_back({range.start, {base, range.size}});
        base += range.size;
    }
    return machine::GuestMemory{std::move(regions)};
}

void Guest::load(const RunOptions &options) {
    machine::GuestMemory memory = memory_view();
    if (machine_->pci_host()) {
        const std::lock_guard lock{machine_->lock()};
        machine_->pci_host()->assign_resources(layout_.back().end());
    }
    boot::Request request = options.boot;
    if (!request.flat)
        request.acpi_rsdp = boot::write_acpi(memory, boot::acpi_config(machine_->description(), 1));
    enter_at(boot::load(memory, request));
}

void Guest::enter_at(const boot::Entry &entry) {
    vcpu_.sync(0, HWV_REGS_ALL);
    hwv_regs &r = vcpu_.regs();
    for (unsigned i = 0; i < HWV_GPRS; ++i)
        r.gpr[i] = entry.gpr[i];
    r.rip = entry.rip;
    r.rflags = entry.rflags;
    const boot::Segment *segments[HWV_SEGMENTS] = {&entry.es, &entry.cs, &entry.ss,  &entry.ds,
                                                   &entry.fs, &entry.gs, &entry.ldt, &entry.tr};
    for (unsigned i = 0; i < HWV_SEGMENTS; ++i)
        to_run_page(r.segment[i], *segments[i]);
    r.gdtr = {entry.gdt.base, entry.gdt.limit, 0};
    r.idtr = {entry.idt.base, entry.idt.limit, 0};
    r.cr0 = entry.cr0;
    r.cr3 = entry.cr3;
    r.cr4 = entry.cr4;
    r.efer = entry.efer;
    vcpu_.sync(HWV_REGS_GPR | HWV_REGS_SEGMENT | HWV_REGS_CONTROL, 0);
}

Ending Guest::run() {
    machine_->start();
    std::thread thread{[this] { vcpu_thread(); }};
    {
        std::unique_lock lock{end_lock_};
        ended_.wait(lock, [this] { return over_; });
    }
    stop_ = true;
    vcpu_.kick();
    thread.join();
    machine_->stop();
    return ending_;
}

void Guest::end(Ending ending) {
    const std::lock_guard lock{end_lock_};
    if (over_) return;
    ending_ = std::move(ending);
    over_ = true;
    ended_.notify_all();
}

void Guest::quit() { end({status::quit, "ended by a signal"}); }

// Called with the machine's lock held: only notes what happened. The vCPU stops at its next exit.
void Guest::power(machine::PowerEvent event) {
    using Kind = machine::PowerEvent::Kind;
    stop_ = event.kind != Kind::none;
    switch (event.kind) {
    case Kind::none: break;
    case Kind::poweroff: end({status::powered_off, {}}); break;
    case Kind::reset: end({status::reset, "the guest asked for a reset"}); break;
    case Kind::panic: end({status::panic, "the guest's kernel panicked"}); break;
    case Kind::quit: end({status::quit, {}}); break;
    case Kind::debug_exit:
        end({status::debug_exit + static_cast<int>(event.code >> 1 & 0x7f), {}});
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
        end({status::host_error, e.what()});
    }
}

void Guest::raise(bool level) noexcept {
    if (!level) return;
    try {
        vcpu_.kick();
    } catch (const hwv::Error &e) {
        end({status::host_error, e.what()});
    }
}

} // namespace hwvctl
