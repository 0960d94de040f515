// SPDX-License-Identifier: GPL-2.0-only
#include "machine/uart.hpp"

#include <algorithm>

namespace machine {

namespace {

enum Register : std::uint64_t { data, ier, iir_fcr, lcr, mcr, lsr, msr, scratch };
enum Ier : std::uint8_t { ier_received = 1, ier_transmitted = 2, ier_line = 4, ier_modem = 8 };
enum Fcr : std::uint8_t { fcr_enable = 1, fcr_clear_received = 2, fcr_clear_transmit = 4 };
enum Lsr : std::uint8_t {
    lsr_ready = 0x01,
    lsr_overrun = 0x02,
    lsr_holding_empty = 0x20,
    lsr_all_empty = 0x40,
};
enum Mcr : std::uint8_t { mcr_dtr = 1, mcr_rts = 2, mcr_out1 = 4, mcr_out2 = 8 };
enum Msr : std::uint8_t { msr_cts = 0x10, msr_dsr = 0x20, msr_ring = 0x40, msr_carrier = 0x80 };
// "Interrupt Control Functions", bits 3-0, from highest priority to none.
enum Iir : std::uint8_t {
    iir_line = 0x6,
    iir_received = 0x4,
    iir_timeout = 0xc,
    iir_transmitted = 0x2,
    iir_modem = 0x0,
    iir_none = 0x1,
};

} // namespace

void Uart::Fifo::push(std::uint8_t byte) {
    bytes[(first + count) % bytes.size()] = byte;
    ++count;
}

std::uint8_t Uart::Fifo::pop() {
    const std::uint8_t byte = bytes[first];
    first = (first + 1) % bytes.size();
    --count;
    return byte;
}

Uart::Uart(IrqLine irq, SerialBackend *backend) : irq_(irq), backend_(backend) {
    msr_ = modem_inputs();
    if (backend_ != nullptr) backend_->connect(this);
}

Uart::~Uart() {
    if (backend_ != nullptr) backend_->connect(nullptr);
}

bool Uart::attach(PortBus &bus, std::uint16_t base) {
    return bus.claim({.first = base, .count = ports}, *this);
}

std::size_t Uart::trigger_level() const {
    constexpr std::array<std::size_t, 4> levels{1, 4, 8, 14};
    return (fcr_ & fcr_enable) != 0 ? levels[fcr_ >> 6] : 1;
}

std::uint8_t Uart::pending_interrupt() const {
    if ((ier_ & ier_line) != 0 && overrun_) return iir_line;
    if ((ier_ & ier_received) != 0 && received_.count >= trigger_level()) return iir_received;
    // The timeout is for characters that stay below the trigger level while the line is silent.
    // Ours is silent as soon as they are in.
    if ((ier_ & ier_received) != 0 && received_.count > 0) return iir_timeout;
    if ((ier_ & ier_transmitted) != 0 && transmitter_empty_pending_) return iir_transmitted;
    if ((ier_ & ier_modem) != 0 && (msr_ & 0x0f) != 0) return iir_modem;
    return iir_none;
}

void Uart::update() noexcept {
    // On a PC, OUT2 gates this line. Small systems forget to set it and work in other virtual
    // machines, so it is not asked.
    irq_.set(pending_interrupt() != iir_none);
}

std::uint8_t Uart::line_status() const {
    std::uint8_t status = 0;
    if (received_.count > 0) status |= lsr_ready;
    if (overrun_) status |= lsr_overrun;
    if (transmitting_.count == 0) status |= lsr_holding_empty | lsr_all_empty;
    return status;
}

void Uart::offer_space(std::size_t space_before) noexcept {
    if (space_before == 0 && receive_space() > 0 && backend_ != nullptr) backend_->receive_ready();
}

std::uint8_t Uart::read_receiver() noexcept {
    if (received_.count == 0) return 0;
    const std::size_t space = receive_space();
    const std::uint8_t byte = received_.pop();
    offer_space(space);
    return byte;
}

std::uint8_t Uart::read_identification() noexcept {
    const std::uint8_t pending = pending_interrupt();
    // "IIR read (if source of interrupt)" is one of the two things that reset THRE's interrupt.
    if (pending == iir_transmitted) transmitter_empty_pending_ = false;
    return static_cast<std::uint8_t>(pending | ((fcr_ & fcr_enable) != 0 ? 0xc0 : 0));
}

std::uint64_t Uart::read(std::uint64_t offset, unsigned) noexcept {
    std::uint8_t value = 0xff;
    switch (offset) {
    case data:
        value = divisor_access() ? static_cast<std::uint8_t>(divisor_) : read_receiver();
        break;
    case ier: value = divisor_access() ? static_cast<std::uint8_t>(divisor_ >> 8) : ier_; break;
    case iir_fcr: value = read_identification(); break;
    case lcr: value = lcr_; break;
    case mcr: value = mcr_; break;
    case lsr:
        value = line_status();
        overrun_ = false;
        break;
    case msr:
        value = msr_;
        msr_ &= 0xf0;
        break;
    case scratch: value = scratch_; break;
    default: break;
    }
    update();
    return value;
}

void Uart::write(std::uint64_t offset, unsigned, std::uint64_t value) noexcept {
    const auto byte = static_cast<std::uint8_t>(value);
    switch (offset) {
    case data:
        if (divisor_access())
            divisor_ = static_cast<std::uint16_t>((divisor_ & 0xff00) | byte);
        else
            write_transmitter(byte);
        break;
    case ier:
        if (divisor_access())
            divisor_ = static_cast<std::uint16_t>((divisor_ & 0x00ff) | byte << 8);
        else
            write_interrupt_enable(byte);
        break;
    case iir_fcr: write_fifo_control(byte); break;
    case lcr: lcr_ = byte; break;
    case mcr: {
        const std::size_t space = receive_space();
        mcr_ = byte & 0x1f;
        set_modem(modem_inputs());
        offer_space(space);
        break;
    }
    case scratch: scratch_ = byte; break;
    default: // LSR and MSR are for reading; their writes are factory tests
        break;
    }
    update();
}

void Uart::write_interrupt_enable(std::uint8_t value) noexcept {
    const bool was_enabled = (ier_ & ier_transmitted) != 0;
    ier_ = value & 0x0f;
    // Enabling THRE's interrupt with an empty transmitter raises it at once: drivers start output
    // so.
    if (!was_enabled && (ier_ & ier_transmitted) != 0 && transmitting_.count == 0)
        transmitter_empty_pending_ = true;
}

void Uart::write_fifo_control(std::uint8_t value) noexcept {
    const std::size_t space = receive_space();
    const bool toggled = ((value ^ fcr_) & fcr_enable) != 0;
    // "Bit 0": changing it clears both FIFOs; other bits count only when it is written as 1.
    if (toggled ||
        (value & (fcr_enable | fcr_clear_received)) == (fcr_enable | fcr_clear_received)) {
        received_.clear();
        overrun_ = false;
    }
    if (toggled ||
        (value & (fcr_enable | fcr_clear_transmit)) == (fcr_enable | fcr_clear_transmit)) {
        transmitting_.clear();
        transmitter_empty_pending_ = true;
    }
    fcr_ = (value & fcr_enable) != 0 ? value & 0xc9 : 0;
    offer_space(space);
}

void Uart::write_transmitter(std::uint8_t value) noexcept {
    transmitter_empty_pending_ = false;
    if (loopback()) {
        store(value);
        transmitter_empty_pending_ = true;
        return;
    }
    // Writing into a full transmitter overwrites what was written last.
    if (transmitting_.count >= depth())
        transmitting_.bytes[(transmitting_.first + transmitting_.count - 1) % fifo_size] = value;
    else
        transmitting_.push(value);
    drain();
}

void Uart::drain() noexcept {
    while (transmitting_.count > 0) {
        // The ring may wrap: hand over the piece up to the end of the array, then the rest.
        const std::size_t run =
            std::min(transmitting_.count, transmitting_.bytes.size() - transmitting_.first);
        const std::span piece(transmitting_.bytes.data() + transmitting_.first, run);
        const std::size_t taken =
            backend_ != nullptr ? std::min(backend_->transmit(piece), run) : run;
        for (std::size_t index = 0; index < taken; ++index)
            transmitting_.pop();
        if (taken < run) return;
    }
    transmitter_empty_pending_ = true;
}

void Uart::transmit_ready() noexcept {
    if (transmitting_.count == 0) return;
    drain();
    update();
}

void Uart::store(std::uint8_t byte) noexcept {
    if (received_.count < depth()) {
        received_.push(byte);
        return;
    }
    // "Overrun Error": without FIFO the new character replaces the old, with FIFO it is lost.
    overrun_ = true;
    if (depth() == 1) {
        received_.clear();
        received_.push(byte);
    }
}

std::size_t Uart::receive_space() const noexcept {
    // In loopback the input pin is disconnected: the host's characters wait.
    return loopback() ? 0 : depth() - std::min(depth(), received_.count);
}

void Uart::receive(std::span<const std::uint8_t> bytes) noexcept {
    for (const std::uint8_t byte : bytes)
        store(byte);
    update();
}

std::uint8_t Uart::modem_inputs() const {
    if (!loopback())
        return msr_cts | msr_dsr | msr_carrier; // a null modem to somebody who always is there
    std::uint8_t inputs = 0;
    inputs |= (mcr_ & mcr_rts) != 0 ? msr_cts : 0;
    inputs |= (mcr_ & mcr_dtr) != 0 ? msr_dsr : 0;
    inputs |= (mcr_ & mcr_out1) != 0 ? msr_ring : 0;
    inputs |= (mcr_ & mcr_out2) != 0 ? msr_carrier : 0;
    return inputs;
}

void Uart::set_modem(std::uint8_t inputs) noexcept {
    const std::uint8_t changed = (msr_ ^ inputs) & 0xf0;
    std::uint8_t deltas = (msr_ & 0x0f) | changed >> 4;
    // Delta of the ring indicator is its trailing edge: it counts only when the ring stops.
    if ((changed & msr_ring) != 0 && (inputs & msr_ring) != 0 && (msr_ & 0x04) == 0)
        deltas &= static_cast<std::uint8_t>(~0x04);
    msr_ = inputs | deltas;
}

} // namespace machine
