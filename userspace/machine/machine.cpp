// SPDX-License-Identifier: GPL-2.0-only
#include "machine/machine.hpp"

#include <cstring>
#include <stdexcept>
#include <utility>

namespace machine {

namespace {

constexpr std::array<SerialDescription, 4> com_ports{{
    {.port = 0x3f8, .irq = 4},
    {.port = 0x2f8, .irq = 3},
    {.port = 0x3e8, .irq = 4},
    {.port = 0x2e8, .irq = 3},
}};

constexpr unsigned timer_irq = LegacyRoute::timer_irq;
constexpr unsigned keyboard_irq = 1;
constexpr unsigned mouse_irq = 12;
constexpr unsigned rtc_irq = LegacyRoute::clock_irq;
constexpr unsigned sci_irq = 9;
constexpr unsigned timer_pin = 2;

} // namespace

void Machine::Router::set_irq(unsigned irq, bool level) noexcept {
    if (irq >= holders_.size()) return;
    std::uint32_t &holders = holders_[irq];
    // A line tells only of changes, so every fall has had its rise.
    holders = level ? holders + 1 : holders - 1;
    const bool asserted = holders > 0;
    if (pic_ != nullptr) pic_->set_irq(irq, asserted);
    ioapic_.set_pin(irq == timer_irq ? timer_pin : irq, asserted);
}

Machine::Machine(MachineConfig config, MachineSinks sinks)
    : ram_(std::move(config.ram)),
      low_memory_(ram_, sinks.ram, config.a20_gate),
      memory_slots_(sinks.memory),
      timers_(config.clock != nullptr ? *config.clock : system_clock_),
      loop_(lock_, timers_),
      pic_(config.legacy ? std::make_unique<Pic>(sinks.intr) : nullptr),
      ioapic_(sinks.messages, sinks.eoi),
      router_(pic_.get(), ioapic_),
      pm_(timers_, irq_line(sci_irq), sinks.power, {.hardware_reduced = !config.legacy}),
      rtc_(timers_, {legacy_route_, rtc_irq}),
      reset_(sinks.power, low_memory_),
      debug_exit_(sinks.power),
      panic_(sinks.power),
      debug_console_(std::move(config.debug_output)) {
    const std::lock_guard guard(lock_);
    if (config.legacy) {
        // The firmware's work: the SCI is level-triggered.
        pic_->set_level_triggered(1u << sci_irq);
        pit_ = std::make_unique<Pit>(timers_, IrqLine{legacy_route_, timer_irq});
        if (config.hpet) hpet_ = std::make_unique<Hpet>(timers_, router_, legacy_route_);
        i8042_ = std::make_unique<I8042>(irq_line(keyboard_irq), irq_line(mouse_irq), sinks.power,
                                         low_memory_, config.keyboard);
    }
    if (config.vga) vga_ = std::make_unique<Vga>(timers_.clock(), memory_slots_);
    rtc_.set_memory(config.memory_below_4g, config.memory_above_4g);
    attach_all();
    describe(config);
    add_serial(config, sinks);
    if (config.pci || config.vga) add_pci(config, sinks);
}

Machine::~Machine() { loop_.stop(); }

void Machine::attach_all() {
    bool attached = ioapic_.attach(mmio_) && pm_.attach(ports_) && rtc_.attach(ports_) &&
                    reset_.attach(ports_) && debug_exit_.attach(ports_) && panic_.attach(ports_) &&
                    debug_console_.attach(ports_) && post_.attach(ports_);
    if (pic_ != nullptr)
        attached =
            attached && pic_->attach(ports_) && pit_->attach(ports_) && i8042_->attach(ports_);
    if (hpet_ != nullptr) attached = attached && hpet_->attach(mmio_);
    if (vga_ != nullptr) attached = attached && vga_->attach(ports_, mmio_);
    if (!attached) throw std::logic_error("two devices claim the same address");
}

void Machine::add_pci(const MachineConfig &config, const MachineSinks &sinks) {
    pci_ = std::make_unique<pci::Host>(pci::Wiring{ports_, mmio_, loop_, sinks.messages, router_,
                                                   sinks.memory, sinks.events, low_memory_},
                                       reset_, ResetControl::reset_offset, config.legacy);
    if (pic_ != nullptr)
        pic_->set_level_triggered(1u << sci_irq | 1u << pci::isa_irq_of(0) |
                                  1u << pci::isa_irq_of(2));
    description_.pci = PciDescription{
        .ecam_base = pci::ecam_base,
        .ecam_bytes = pci::bus_bytes,
        .memory_first = pci::memory_first,
        .memory_last = pci::memory_last,
        .memory64_first =
            pci::memory64_first(ram_.regions().empty() ? 0 : ram_.regions().back().end()),
        .memory64_bytes = pci::memory64_bytes,
        .gsi = pci::gsi_of,
    };
    if (vga_ == nullptr) return;
    auto function = std::make_unique<VgaFunction>(*vga_, config.vga_rom);
    vga_function_ = function.get();
    pci_->add(std::move(function));
}

void Machine::add_serial(MachineConfig &config, const MachineSinks &sinks) {
    for (std::size_t index = 0; index < com_ports.size(); ++index) {
        if (index > 0 && !config.serial[index]) continue;
        if (config.serial[index])
            backends_[index] = config.serial[index]({loop_, sinks.power, config.notice});
        uarts_[index] =
            std::make_unique<Uart>(irq_line(com_ports[index].irq), backends_[index].get());
        if (!uarts_[index]->attach(ports_, com_ports[index].port))
            throw std::logic_error("two devices claim the same address");
        description_.serial[index] = com_ports[index];
    }
}

void Machine::describe(const MachineConfig &config) {
    MachineDescription &about = description_;
    about.legacy = config.legacy;
    about.ioapic = {.base = IoApic::default_base, .id = 0, .first_gsi = 0, .pins = IoApic::pins};
    about.timer_gsi = timer_pin;
    about.sci_irq = sci_irq;
    constexpr std::uint16_t base = AcpiPm::default_base;
    about.pm.gpe0 = base + AcpiPm::gpe0_offset;
    about.pm.gpe0_length = AcpiPm::gpe0_length;
    about.pm.s5_sleep_type = AcpiPm::s5_sleep_type;
    if (config.legacy) {
        about.pm.pm1_event = base + AcpiPm::event_offset;
        about.pm.pm1_control = base + AcpiPm::control_offset;
        about.pm.timer = base + AcpiPm::timer_offset;
        about.pm.timer_32_bit = true;
    } else {
        about.pm.sleep_control = base + AcpiPm::sleep_control_offset;
        about.pm.sleep_status = base + AcpiPm::sleep_status_offset;
    }
    about.reset = {.port = ResetControl::reset_port, .value = ResetControl::reset_value};
    about.i8042 = config.legacy && config.keyboard;
    about.keyboard = config.legacy && config.keyboard;
    about.vga = config.vga;
    about.rtc = true;
    if (hpet_ != nullptr)
        about.hpet =
            HpetDescription{.base = Hpet::base,
                            .bytes = Hpet::length,
                            .id = Hpet::id,
                            .shortest_period = Hpet::shortest_wait_ns * Hpet::hz / ns_per_second};
    about.panic_port = PanicReport::default_port;
    about.debug_exit_port = DebugExit::default_port;
}

void Machine::start() { loop_.start(); }

void Machine::stop() {
    loop_.stop();
    const std::lock_guard guard(lock_);
    for (const auto &backend : backends_)
        if (backend != nullptr) backend->settle();
}

void Machine::handle_port(std::uint16_t port, unsigned size, bool is_write, void *data,
                          std::uint32_t count) noexcept {
    if (size != 1 && size != 2 && size != 4) return;
    const std::lock_guard guard(lock_);
    auto *element = static_cast<std::uint8_t *>(data);
    for (std::uint32_t index = 0; index < count; ++index, element += size) {
        // x86 is little-endian: the first `size` bytes of the word are the operand.
        std::uint32_t value = 0;
        if (is_write) {
            std::memcpy(&value, element, size);
            ports_.write(port, size, value);
        } else {
            value = ports_.read(port, size);
            std::memcpy(element, &value, size);
        }
    }
}

void Machine::handle_mmio(std::uint64_t gpa, unsigned size, bool is_write, void *data) noexcept {
    if (size != 1 && size != 2 && size != 4 && size != 8) return;
    const std::lock_guard guard(lock_);
    std::uint64_t value = 0;
    if (is_write) {
        std::memcpy(&value, data, size);
        mmio_.write(gpa, size, value);
    } else {
        value = mmio_.read(gpa, size);
        std::memcpy(data, &value, size);
    }
}

void Machine::eoi(std::uint8_t vector) noexcept {
    const std::lock_guard guard(lock_);
    ioapic_.eoi(vector);
}

bool Machine::pic_pending() noexcept {
    const std::lock_guard guard(lock_);
    return pic_ != nullptr && pic_->pending();
}

std::uint8_t Machine::acknowledge_pic() noexcept {
    const std::lock_guard guard(lock_);
    return pic_ != nullptr ? pic_->acknowledge() : 0;
}

void Machine::press_power_button() noexcept {
    const std::lock_guard guard(lock_);
    pm_.press_power_button();
}

std::optional<std::uint64_t> Machine::ram_address(std::uint64_t gpa, bool write) noexcept {
    if (gpa >= LowMemory::end) return gpa;
    const std::lock_guard guard(lock_);
    return low_memory_.find(gpa, write);
}

UnclaimedCount Machine::unclaimed_ports() {
    const std::lock_guard guard(lock_);
    return ports_.unclaimed();
}

UnclaimedCount Machine::unclaimed_mmio() {
    const std::lock_guard guard(lock_);
    return mmio_.unclaimed();
}

void Machine::run_due_timers() {
    const std::lock_guard guard(lock_);
    timers_.run_due();
}

} // namespace machine
