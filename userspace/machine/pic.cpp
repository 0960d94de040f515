// SPDX-License-Identifier: GPL-2.0-only
#include "machine/pic.hpp"

namespace machine {

namespace {

constexpr unsigned cascade_pin = 2;

constexpr std::uint8_t bit(int pin) { return static_cast<std::uint8_t>(1u << pin); }

enum Icw1 : std::uint8_t {
    icw1_ic4 = 0x01,
    icw1_single = 0x02,
    icw1_level = 0x08,
    icw1_mark = 0x10
};
enum Icw4 : std::uint8_t { icw4_auto_eoi = 0x02, icw4_special_nested = 0x10 };
enum Ocw3 : std::uint8_t { ocw3_mark = 0x08, ocw3_poll = 0x04 };

// OCW2 bits 7-5: R, SL, EOI.
enum class Ocw2 : std::uint8_t {
    rotate_auto_clear = 0,
    eoi = 1,
    none = 2,
    eoi_specific = 3,
    rotate_auto_set = 4,
    eoi_rotate = 5,
    set_priority = 6,
    eoi_specific_rotate = 7,
};

} // namespace

bool PicChip::level_triggered(unsigned pin) const {
    // The slave's INT stays high from its first request to its last, without edges between: the
    // master's cascade input follows the level, else a request that comes while another is in
    // service is lost.
    if (master_ && !single_ && pin == cascade_pin) return true;
    return all_level_ || (elcr_ >> pin & 1) != 0;
}

std::uint8_t PicChip::irr() const {
    std::uint8_t levels = 0;
    for (unsigned pin = 0; pin < 8; ++pin)
        levels |= level_triggered(pin) ? bit(static_cast<int>(pin)) : std::uint8_t{0};
    return lines_ & (levels | edges_);
}

int PicChip::first_by_priority(std::uint8_t set) const {
    for (int step = 1; step <= 8; ++step) {
        const int pin = (lowest_ + step) & 7;
        if ((set & bit(pin)) != 0) return pin;
    }
    return -1;
}

int PicChip::highest_pending() const {
    // Until ICW2 came there is no vector; the data sheet's sequence keeps the chip silent.
    if (expect_ != Expect::operation) return -1;
    const int request = first_by_priority(irr() & ~imr_);
    if (request < 0) return -1;
    // In special mask mode a level in service that is masked holds nothing back.
    std::uint8_t holding = special_mask_ ? isr_ & static_cast<std::uint8_t>(~imr_) : isr_;
    // "Special Fully Nested Mode": a slave in service may interrupt again with something more
    // urgent.
    if (fully_nested_special_ && master_ && request == static_cast<int>(cascade_pin))
        holding &= static_cast<std::uint8_t>(~bit(cascade_pin));
    const int serving = first_by_priority(holding);
    return serving < 0 || rank(request) < rank(serving) ? request : -1;
}

void PicChip::set_line(unsigned pin, bool level) noexcept {
    const std::uint8_t mask = bit(static_cast<int>(pin & 7));
    if (level) {
        edges_ |= mask & static_cast<std::uint8_t>(~lines_);
        lines_ |= mask;
    } else {
        // A request that is withdrawn before INTA is gone ("Interrupt Request Register", IR
        // timing).
        edges_ &= static_cast<std::uint8_t>(~mask);
        lines_ &= static_cast<std::uint8_t>(~mask);
    }
}

int PicChip::acknowledge() noexcept {
    const int pin = highest_pending();
    if (pin < 0) return -1;
    edges_ &= static_cast<std::uint8_t>(~bit(pin));
    if (!auto_eoi_)
        isr_ |= bit(pin);
    else if (rotate_on_auto_eoi_)
        lowest_ = pin;
    return pin;
}

std::uint8_t PicChip::read(bool a0) noexcept {
    if (poll_) {
        poll_ = false;
        const int pin = acknowledge();
        return pin < 0 ? 0 : static_cast<std::uint8_t>(0x80 | pin);
    }
    if (a0) return imr_;
    return read_isr_ ? isr_ : irr();
}

void PicChip::write(bool a0, std::uint8_t value) noexcept {
    if (a0) {
        if (expect_ == Expect::operation)
            imr_ = value;
        else
            write_initialization(value);
    } else if ((value & icw1_mark) != 0) {
        start_initialization(value);
    } else if ((value & ocw3_mark) != 0) {
        write_ocw3(value);
    } else {
        write_ocw2(value);
    }
}

void PicChip::start_initialization(std::uint8_t icw1) noexcept {
    expect_ = Expect::icw2;
    single_ = (icw1 & icw1_single) != 0;
    needs_icw4_ = (icw1 & icw1_ic4) != 0;
    all_level_ = (icw1 & icw1_level) != 0;
    // "Initialization Command Words 1 and 2", what happens automatically: edge sense cleared, mask
    // cleared, IR7 lowest, special mask off, status read set to IRR; without IC4 all of ICW4 is
    // zero.
    edges_ = 0;
    isr_ = 0;
    imr_ = 0;
    lowest_ = 7;
    special_mask_ = false;
    poll_ = false;
    read_isr_ = false;
    auto_eoi_ = false;
    rotate_on_auto_eoi_ = false;
    fully_nested_special_ = false;
}

void PicChip::write_initialization(std::uint8_t value) noexcept {
    switch (expect_) {
    case Expect::icw2:
        base_ = value & 0xf8;
        if (!single_)
            expect_ = Expect::icw3;
        else
            expect_ = needs_icw4_ ? Expect::icw4 : Expect::operation;
        break;
    case Expect::icw3:
        // Which pins have slaves is wiring, and ours is the PC's whatever ICW3 says.
        expect_ = needs_icw4_ ? Expect::icw4 : Expect::operation;
        break;
    case Expect::icw4:
        auto_eoi_ = (value & icw4_auto_eoi) != 0;
        fully_nested_special_ = (value & icw4_special_nested) != 0;
        expect_ = Expect::operation;
        break;
    case Expect::operation: break;
    }
}

void PicChip::write_ocw2(std::uint8_t value) noexcept {
    const int level = value & 7;
    // A non-specific EOI in special mask mode does not see levels that are masked ("Special Mask
    // Mode").
    const std::uint8_t visible = special_mask_ ? isr_ & static_cast<std::uint8_t>(~imr_) : isr_;
    const int serving = first_by_priority(visible);
    const auto command = static_cast<Ocw2>(value >> 5);
    switch (command) {
    case Ocw2::eoi:
    case Ocw2::eoi_rotate:
        if (serving < 0) break;
        isr_ &= static_cast<std::uint8_t>(~bit(serving));
        if (command == Ocw2::eoi_rotate) lowest_ = serving;
        break;
    case Ocw2::eoi_specific:
    case Ocw2::eoi_specific_rotate:
        isr_ &= static_cast<std::uint8_t>(~bit(level));
        if (command == Ocw2::eoi_specific_rotate) lowest_ = level;
        break;
    case Ocw2::set_priority: lowest_ = level; break;
    case Ocw2::rotate_auto_set:
    case Ocw2::rotate_auto_clear: rotate_on_auto_eoi_ = command == Ocw2::rotate_auto_set; break;
    case Ocw2::none: break;
    }
}

void PicChip::write_ocw3(std::uint8_t value) noexcept {
    if ((value & 0x40) != 0) special_mask_ = (value & 0x20) != 0;
    if ((value & 0x02) != 0) read_isr_ = (value & 0x01) != 0;
    poll_ = (value & ocw3_poll) != 0;
}

Pic::Pic(ExtIntSink &intr) : intr_(intr) {}

bool Pic::attach(PortBus &bus) {
    return bus.claim({.first = 0x20, .count = 2}, *this, 0) &&
           bus.claim({.first = 0xa0, .count = 2}, *this, 2) &&
           bus.claim({.first = 0x4d0, .count = 2}, *this, 4);
}

void Pic::update() noexcept {
    master_.set_line(cascade_pin, slave_.output());
    const bool level = master_.output();
    if (level == raised_) return;
    raised_ = level;
    intr_.raise(level);
}

std::uint64_t Pic::read(std::uint64_t offset, unsigned) noexcept {
    std::uint8_t value = 0xff;
    if (offset < 2)
        value = master_.read(offset == 1);
    else if (offset < 4)
        value = slave_.read(offset == 3);
    else if (offset < 6)
        return offset == 4 ? master_.elcr() : slave_.elcr();
    // A read in poll mode is an acknowledge and changes the outputs.
    update();
    return value;
}

void Pic::write(std::uint64_t offset, unsigned, std::uint64_t value) noexcept {
    const auto byte = static_cast<std::uint8_t>(value);
    if (offset < 2)
        master_.write(offset == 1, byte);
    else if (offset < 4)
        slave_.write(offset == 3, byte);
    else if (offset < 6)
        (offset == 4 ? master_ : slave_).set_elcr(byte);
    update();
}

void Pic::set_irq(unsigned irq, bool level) noexcept {
    if (irq > 15 || irq == cascade_pin) return;
    (irq < 8 ? master_ : slave_).set_line(irq & 7, level);
    update();
}

void Pic::set_level_triggered(std::uint16_t irqs) noexcept {
    master_.set_elcr(static_cast<std::uint8_t>(irqs));
    slave_.set_elcr(static_cast<std::uint8_t>(irqs >> 8));
    update();
}

std::uint8_t Pic::acknowledge() noexcept {
    std::uint8_t vector = 0;
    const int pin = master_.acknowledge();
    if (pin == static_cast<int>(cascade_pin))
        vector = slave_.vector(slave_.acknowledge());
    else
        vector = master_.vector(pin);
    update();
    return vector;
}

} // namespace machine
