// SPDX-License-Identifier: GPL-2.0-only
// emulate.cpp - what the kernel leaves to user whole: instructions on device memory, INS and OUTS,
// task switches.
#include <cstdio>
#include <cstring>
#include <optional>
#include "assist/string_io.hpp"
#include "assist/task_switch.hpp"
#include "assist/xsave.hpp"
#include "hwvctl/processor.hpp"

namespace hwvctl {
namespace {

constexpr std::uint64_t apic_page_mask = ~std::uint64_t{0xfff}, x2apic_enabled = 1u << 10;

// The vCPU's FPU, read when the first instruction asks and written back when one has changed it.
class LazyVectors final : public assist::VectorRegisters {
  public:
    LazyVectors(hwv::Vcpu &vcpu, std::size_t bytes) : vcpu_{vcpu}, image_(bytes) {}
    void read(unsigned index, std::span<std::byte, 64> to) override { image().read(index, to); }
    void write(unsigned index, std::span<const std::byte, 64> from) override {
        image().write(index, from);
        changed_ = true;
    }
    void flush() {
        if (changed_) vcpu_.set_xsave(image_);
    }

  private:
    assist::XsaveImage &image() {
        static const assist::XsaveLayout layout = assist::host_xsave_layout();
        if (!registers_) {
            vcpu_.get_xsave(image_);
            registers_.emplace(image_, layout);
        }
        return *registers_;
    }
    hwv::Vcpu &vcpu_;
    std::vector<std::byte> image_;
    std::optional<assist::XsaveImage> registers_;
    bool changed_ = false;
};

// Everything that the guest's instruction can reach: RAM, the local APIC's page, devices, ports.
class GuestBus final : public assist::PhysicalMemory, public assist::PortAccess {
  public:
    GuestBus(machine::GuestMemory ram, hwv::Vcpu &vcpu, machine::Machine &machine)
        : ram_{std::move(ram)}, vcpu_{vcpu}, machine_{machine} {}

    std::byte *ram(std::uint64_t gpa, std::size_t size, bool write) override {
        const auto address = machine_.ram_address(gpa, write);
        const auto bytes = address ? ram_.span(*address, size) : std::nullopt;
        return bytes ? bytes->data() : nullptr;
    }
    std::uint64_t mmio_read(std::uint64_t gpa, unsigned size) override {
        std::uint64_t value = 0;
        if (on_apic(gpa)) {
            const std::uint64_t whole = vcpu_.apic_reg(static_cast<std::uint32_t>(gpa & 0xff0));
            value = size == 8 || (gpa & 0xf) > 3 ? whole : whole >> (8 * (gpa & 3));
            return size >= 8 ? value : value & ((std::uint64_t{1} << (8 * size)) - 1);
        }
        machine_.handle_mmio(gpa, size, false, &value);
        return value;
    }
    void mmio_write(std::uint64_t gpa, unsigned size, std::uint64_t value) override {
        if (on_apic(gpa))
            return vcpu_.set_apic_reg(static_cast<std::uint32_t>(gpa & 0xff0),
                                      static_cast<std::uint32_t>(value));
        machine_.handle_mmio(gpa, size, true, &value);
    }
    std::uint32_t in(std::uint16_t port, unsigned size) override {
        std::uint32_t value = 0;
        machine_.handle_port(port, size, false, &value);
        return value;
    }
    void out(std::uint16_t port, unsigned size, std::uint32_t value) override {
        machine_.handle_port(port, size, true, &value);
    }
    void in_many(std::uint16_t port, unsigned size, std::span<std::byte> to) override {
        machine_.handle_port(port, size, false, to.data(),
                             static_cast<std::uint32_t>(to.size() / size));
    }
    void out_many(std::uint16_t port, unsigned size, std::span<const std::byte> from) override {
        // The machine takes one pointer for both directions; it only reads here.
        machine_.handle_port(port, size, true, const_cast<std::byte *>(from.data()),
                             static_cast<std::uint32_t>(from.size() / size));
    }

  private:
    bool on_apic(std::uint64_t gpa) const {
        const std::uint64_t base = vcpu_.regs().apic_base;
        return base != 0 && !(base & x2apic_enabled) &&
               (base & apic_page_mask) == (gpa & apic_page_mask);
    }
    machine::GuestMemory ram_;
    hwv::Vcpu &vcpu_;
    machine::Machine &machine_;
};

} // namespace

// Long REP instructions come back for more; between two rounds the vCPU may be stopped.
template <typename Once>
const char *Processor::emulate(Once once) {
    vcpu_.sync(0, HWV_REGS_ALL);
    GuestBus bus{board_.memory, vcpu_, machine_};
    LazyVectors vectors{vcpu_, board_.system.info().xsave_bytes};
    assist::Outcome outcome;
    std::uint32_t dirty = 0;
    do {
        outcome = once(bus, assist::Environment{.memory = bus, .vectors = &vectors});
        dirty |= outcome.dirty;
    } while (outcome.status == assist::Status::again && !board_.course.over());
    vectors.flush();
    vcpu_.reply().dirty |= dirty;
    return outcome.status == assist::Status::unsupported ? outcome.problem : nullptr;
}

const char *Processor::emulate_mmio() {
    const hwv_exit_mmio mmio = vcpu_.exit().mmio;
    const auto bytes = std::as_bytes(std::span{mmio.insn}).first(mmio.insn_len);
    return emulate([&](GuestBus &, const assist::Environment &environment) {
        return assist::emulate(vcpu_.regs(), environment, bytes);
    });
}

const char *Processor::complete_string_io() {
    const hwv_exit exit = vcpu_.exit();
    const assist::StringIo io{.port = exit.io.port,
                              .size = exit.io.size,
                              .is_write = exit.io.write != 0,
                              .repeat = exit.io.rep != 0,
                              .segment = exit.io.segment,
                              .address_size = exit.io.address_size,
                              .next_rip = exit.next_rip};
    return emulate([&](GuestBus &bus, const assist::Environment &environment) {
        return assist::complete_string_io(vcpu_.regs(), environment, io, bus);
    });
}

const char *Processor::switch_task() {
    const hwv_exit exit = vcpu_.exit();
    return emulate([&](GuestBus &, const assist::Environment &environment) {
        return assist::switch_task(vcpu_.regs(), environment, exit.task, exit.next_rip);
    });
}

} // namespace hwvctl
