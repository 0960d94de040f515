// SPDX-License-Identifier: GPL-2.0-only
// Wires: from devices to interrupt controllers, and from those to the processors. All sinks are
// called with the machine's lock held and must not call back into the machine.
#pragma once

#include <array>
#include <cstdint>

namespace machine {

// Where the IOAPIC sends its messages: the local APICs, by way of the kernel.
struct MsiSink {
    virtual ~MsiSink() = default;
    virtual void deliver(std::uint64_t address, std::uint32_t data) noexcept = 0;
};

// One bit for each interrupt vector.
using VectorBitmap = std::array<std::uint64_t, 4>;

// The vectors that the IOAPIC uses level-triggered: whoever owns the local APIC has to report their
// EOI to Machine::eoi(). Called when the set changes.
struct EoiSink {
    virtual ~EoiSink() = default;
    virtual void level_vectors(const VectorBitmap &vectors) noexcept = 0;
};

// The INTR pin that the pair of 8259As drives. While it is high, the run loop asks for an interrupt
// window (LVT0 in ExtINT mode or APIC off permitting) and injects what Machine::acknowledge_pic()
// returns.
struct ExtIntSink {
    virtual ~ExtIntSink() = default;
    virtual void raise(bool level) noexcept = 0;
};

// Where devices' interrupt lines end; `level` is true while asserted, whatever the voltage.
struct IrqSink {
    virtual ~IrqSink() = default;
    virtual void set_irq(unsigned irq, bool level) noexcept = 0;
};

// A device's end of one line. Remembers the level, so that an unchanged one costs nothing.
class IrqLine {
  public:
    IrqLine(IrqSink &sink, unsigned irq) : sink_(&sink), irq_(irq) {}
    void set(bool level) noexcept {
        if (level == level_) return;
        level_ = level;
        sink_->set_irq(irq_, level);
    }
    bool level() const { return level_; }
    unsigned irq() const { return irq_; }

  private:
    IrqSink *sink_;
    unsigned irq_;
    bool level_ = false;
};

} // namespace machine
