// SPDX-License-Identifier: GPL-2.0-only
// The PC's two 8259A interrupt controllers, cascaded, with the ELCR of the PIIX. Source: Intel
// 8259A data sheet, "Functional Description" and "Programming the 8259A"; ELCR: 82371SB data sheet,
// "Interrupt Controller Registers". The 8080/8085 mode (three CALL bytes) is programmable but
// acknowledges like 8086.
#pragma once

#include <array>
#include <cstdint>

#include "machine/bus.hpp"
#include "machine/interrupts.hpp"

namespace machine {

// One 8259A.
class PicChip {
  public:
    PicChip(bool master, std::uint8_t elcr_mask) : elcr_mask_(elcr_mask), master_(master) {}
    std::uint8_t read(bool a0) noexcept;
    void write(bool a0, std::uint8_t value) noexcept;
    std::uint8_t elcr() const { return elcr_; }
    void set_elcr(std::uint8_t value) { elcr_ = value & elcr_mask_; }
    void set_line(unsigned pin, bool level) noexcept;
    bool output() const { return highest_pending() >= 0; }
    // The INTA cycle: moves the winner from IRR to ISR and returns its pin, or -1 if the request is
    // gone (then the chip shows pin 7 without an ISR bit: the spurious interrupt).
    int acknowledge() noexcept;
    std::uint8_t vector(int pin) const {
        return static_cast<std::uint8_t>(base_ | (pin < 0 ? 7 : pin));
    }
    std::uint8_t irr() const;
    std::uint8_t isr() const { return isr_; }
    std::uint8_t imr() const { return imr_; }

  private:
    enum class Expect : std::uint8_t { operation, icw2, icw3, icw4 };
    int highest_pending() const;
    // The pin in `set` that is served first under the current rotation, or -1.
    int first_by_priority(std::uint8_t set) const;
    unsigned rank(int pin) const { return static_cast<unsigned>(pin - lowest_ - 1) & 7; }
    void start_initialization(std::uint8_t icw1) noexcept;
    void write_initialization(std::uint8_t value) noexcept;
    void write_ocw2(std::uint8_t value) noexcept;
    void write_ocw3(std::uint8_t value) noexcept;
    bool level_triggered(unsigned pin) const;

    std::uint8_t lines_ = 0; // the pins
    std::uint8_t edges_ = 0; // rising edges not yet acknowledged
    std::uint8_t isr_ = 0;
    std::uint8_t imr_ = 0;
    std::uint8_t elcr_ = 0;
    std::uint8_t elcr_mask_;
    std::uint8_t base_ = 0;
    int lowest_ = 7; // the pin of lowest priority
    Expect expect_ = Expect::operation;
    bool master_;
    bool single_ = false;
    bool needs_icw4_ = false;
    bool all_level_ = false; // ICW1.LTIM
    bool auto_eoi_ = false;
    bool rotate_on_auto_eoi_ = false;
    bool fully_nested_special_ = false;
    bool special_mask_ = false;
    bool poll_ = false;
    bool read_isr_ = false;
};

// Both chips on their ports. Device offsets: 0-1 master, 2-3 slave, 4-5 ELCR.
class Pic final : public Device {
  public:
    explicit Pic(ExtIntSink &intr);
    // False if one of its ports is taken.
    [[nodiscard]] bool attach(PortBus &bus);
    std::uint64_t read(std::uint64_t offset, unsigned size) noexcept override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) noexcept override;
    // ISA line 0-15; 2 is the cascade and goes nowhere.
    void set_irq(unsigned irq, bool level) noexcept;
    bool pending() const { return master_.output(); }
    // What the processor's two INTA cycles read: a vector.
    std::uint8_t acknowledge() noexcept;
    // For the firmware's part of the set-up: which lines are level-triggered, one bit for each IRQ.
    void set_level_triggered(std::uint16_t irqs) noexcept;
    const PicChip &master() const { return master_; }
    const PicChip &slave() const { return slave_; }

  private:
    void update() noexcept;

    ExtIntSink &intr_;
    // IRQ 0-2, 8 and 13 are edge-triggered for ever.
    PicChip master_{true, 0xf8};
    PicChip slave_{false, 0xde};
    bool raised_ = false;
};

} // namespace machine
