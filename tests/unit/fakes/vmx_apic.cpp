// SPDX-License-Identifier: GPL-2.0-only
#include "fakes/vmx_apic.hpp"
#include "core/guest_state.hpp"
#include "vmx/controls.hpp"
#include "vmx/exit_code.hpp"
#include "vmx/maps.hpp"

namespace hwv::fake {

using namespace vmx;
namespace reg = cpu::apic_reg;

bool VirtualApic::on(std::uint32_t controls) {
    return (v_[field::secondary_controls] & controls) == controls;
}

bool VirtualApic::passes(std::uint32_t index, bool write) {
    const auto *map = reinterpret_cast<const std::uint8_t *>(v_[field::msr_bitmap]);
    const std::uint32_t bit = msr_bit(index) + (write ? write_offset : 0);
    return !(map[bit / 8] >> bit % 8 & 1);
}

// ---- what a CPU does not check ----

// "Virtualizing MSR-Based APIC Accesses": what the controls do not take is the host's APIC.
void VirtualApic::check_map() {
    const bool x2apic = on(secondary::virtualize_x2apic_mode);
    const bool registers = x2apic && on(secondary::apic_register_virtualization);
    const bool delivery = x2apic && on(secondary::virtual_interrupt_delivery);
    for (std::uint32_t index = 0x800; index < 0x900; index++) {
        const bool read = registers || (x2apic && index == 0x808);
        const bool write =
            (x2apic && index == 0x808) || (delivery && (index == 0x80b || index == 0x83f));
        if ((passes(index, false) && !read) || (passes(index, true) && !write))
            hardware().violation("the host's APIC is open to the guest");
    }
}

void VirtualApic::check_status() {
    const std::uint64_t status = v_[field::guest_interrupt_status];
    if ((status & 0xff) != highest(reg::irr)) hardware().violation("a request is forgotten: RVI");
    if (status >> 8 != highest(reg::isr)) hardware().violation("SVI is not what is in service");
}

// ---- "Evaluation and Delivery of Virtual Interrupts" ----

void VirtualApic::set_bit(std::uint32_t bitmap, std::uint8_t vector, bool set) {
    const std::uint64_t bit = 1ull << vector % 64, before = page_->bits(bitmap, vector / 64);
    page_->set_bits(bitmap, vector / 64, set ? before | bit : before & ~bit);
}

std::uint8_t VirtualApic::highest(std::uint32_t bitmap) {
    for (unsigned vector = 255; vector; vector--)
        if (page_->bits(bitmap, vector / 64) >> vector % 64 & 1)
            return static_cast<std::uint8_t>(vector);
    return 0;
}

void VirtualApic::update_priority() {
    const std::uint32_t tpr = page_->get(reg::tpr) & 0xff;
    const std::uint32_t service = v_[field::guest_interrupt_status] >> 8;
    page_->set(reg::ppr, tpr >> 4 >= service >> 4 ? tpr : service & 0xf0);
}

void VirtualApic::evaluate() {
    std::uint64_t &status = v_[field::guest_interrupt_status];
    const auto vector = static_cast<std::uint8_t>(status);
    constexpr std::uint32_t shadows = interruptibility::sti | interruptibility::mov_ss;
    if (vector >> 4 <= page_->get(reg::ppr) >> 4 || !(v_[field::guest_rflags] & rflags::if_) ||
        (v_[field::guest_interruptibility] & shadows) ||
        (v_[field::primary_controls] & primary::interrupt_window_exiting))
        return;
    set_bit(reg::isr, vector, true);
    set_bit(reg::irr, vector, false);
    status = std::uint64_t{vector} << 8 | highest(reg::irr);
    page_->set(reg::ppr, vector & 0xf0);
    v_[field::guest_rflags] &= ~rflags::if_; // by an interrupt gate
    vmx().interrupts.push_back(vector);
}

void VirtualApic::enter(bool event) {
    check_map();
    if (!on(secondary::virtual_interrupt_delivery)) return;
    check_status();
    update_priority();
    if (!event) evaluate();
}

// ---- the guest's instructions ----

bool VirtualApic::exits(ExitCode code, std::uint64_t qualification) {
    v_[field::exit_reason] = number(code);
    v_[field::qualification] = qualification;
    v_[field::exit_instruction_length] = 2;
    return false;
}

bool VirtualApic::end_of_interrupt() {
    std::uint64_t &status = v_[field::guest_interrupt_status];
    const auto vector = static_cast<std::uint8_t>(status >> 8);
    set_bit(reg::isr, vector, false);
    status = (status & 0xff) | std::uint64_t{highest(reg::isr)} << 8;
    update_priority();
    const std::uint16_t exit = field::eoi_exit_0.encoding + vector / 64 * 2;
    if (v_.fields[exit] >> vector % 64 & 1) return exits(ExitCode::virtualized_eoi, vector);
    evaluate();
    return true;
}

bool VirtualApic::wrmsr(std::uint32_t index, std::uint64_t value) {
    if (!passes(index, true)) return exits(ExitCode::wrmsr, 0);
    const std::uint32_t offset = (index & 0xff) << 4;
    page_->set(offset, static_cast<std::uint32_t>(value));
    if (offset == reg::eoi) return end_of_interrupt();
    if (offset == reg::self_ipi && !(value & 0xf0)) return exits(ExitCode::apic_write, offset);
    if (offset == reg::self_ipi) {
        set_bit(reg::irr, static_cast<std::uint8_t>(value), true);
        std::uint64_t &status = v_[field::guest_interrupt_status];
        status = (status & 0xff00) | highest(reg::irr);
    }
    update_priority();
    evaluate();
    return true;
}

bool VirtualApic::rdmsr(std::uint32_t index, std::uint64_t &value) {
    if (!passes(index, false)) return exits(ExitCode::rdmsr, 0);
    const std::uint32_t offset = (index & 0xff) << 4;
    value = page_->get(offset) | std::uint64_t{page_->get(offset + 4)} << 32;
    return true;
}

void VirtualApic::sti() {
    v_[field::guest_rflags] |= rflags::if_;
    evaluate();
}

// "Posted-Interrupt Processing".
bool VirtualApic::notified() {
    if (!(v_[field::pin_controls] & pin::posted_interrupts))
        return exits(ExitCode::external_interrupt, 0);
    auto *posted = reinterpret_cast<cpu::PostedRequests *>(v_[field::posted_descriptor]);
    for (unsigned i = 0; i < 4; i++)
        page_->set_bits(reg::irr, i, page_->bits(reg::irr, i) | posted->irr[i].exchange(0));
    std::uint64_t &status = v_[field::guest_interrupt_status];
    status = (status & 0xff00) | highest(reg::irr);
    evaluate();
    return true;
}

} // namespace hwv::fake
