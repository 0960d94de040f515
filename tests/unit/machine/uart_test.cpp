// SPDX-License-Identifier: GPL-2.0-only
#include "machine/uart.hpp"

#include <gtest/gtest.h>
#include <string>

#include "fakes.hpp"
#include "machine/serial_backend.hpp"

namespace machine {
namespace {

// Takes only as much output as it is told to, and counts offers of space.
struct SlowBackend final : SerialBackend {
    std::size_t room = 0;
    std::string output;
    SerialPort *port = nullptr;
    unsigned offers = 0;
    std::size_t transmit(std::span<const std::uint8_t> bytes) noexcept override {
        const std::size_t taken = std::min(room, bytes.size());
        output.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
        room -= taken;
        return taken;
    }
    void receive_ready() noexcept override { ++offers; }
    void connect(SerialPort *other) noexcept override { port = other; }
    void send(const std::string &text) {
        port->receive(std::span(reinterpret_cast<const std::uint8_t *>(text.data()), text.size()));
    }
};

constexpr std::uint16_t base = 0x3f8;
enum Port : std::uint16_t { data, ier, iir, lcr, mcr, lsr, msr, scratch };
constexpr std::uint16_t fcr = iir;

class UartTest : public testing::Test {
  protected:
    UartTest() { EXPECT_TRUE(uart_.attach(bus_, base)); }
    void out(std::uint16_t reg, std::uint8_t value) {
        bus_.write(static_cast<std::uint16_t>(base + reg), 1, value);
    }
    std::uint8_t in(std::uint16_t reg) {
        return static_cast<std::uint8_t>(bus_.read(static_cast<std::uint16_t>(base + reg), 1));
    }

    SlowBackend backend_;
    RecordingIrqs irqs_;
    PortBus bus_;
    Uart uart_{IrqLine(irqs_, 4), &backend_};
};

TEST_F(UartTest, StartsEmptyAndSilent) {
    EXPECT_EQ(in(lsr), 0x60);
    EXPECT_EQ(in(iir), 0x01);
    EXPECT_EQ(in(msr), 0xb0);
    EXPECT_EQ(in(data), 0);
    EXPECT_TRUE(irqs_.events.empty());
}

TEST_F(UartTest, IdentifiesAs16550AWithWorkingScratch) {
    out(scratch, 0x5a);
    EXPECT_EQ(in(scratch), 0x5a);
    out(fcr, 0x01);
    EXPECT_EQ(in(iir), 0xc1);
    out(fcr, 0x00);
    EXPECT_EQ(in(iir), 0x01);
    out(ier, 0xff);
    EXPECT_EQ(in(ier), 0x0f);
    out(mcr, 0xff);
    EXPECT_EQ(in(mcr), 0x1f);
}

TEST_F(UartTest, DivisorHidesBehindTheLatchBit) {
    out(ier, 0x00);
    out(lcr, 0x83);
    out(data, 0x01);
    out(ier, 0x02);
    EXPECT_EQ(in(data), 0x01);
    EXPECT_EQ(in(ier), 0x02);
    out(lcr, 0x03);
    EXPECT_EQ(in(ier), 0x00);
    EXPECT_TRUE(backend_.output.empty());
}

TEST_F(UartTest, OutputArrives) {
    backend_.room = 100;
    for (const char c : std::string("boot"))
        out(data, static_cast<std::uint8_t>(c));
    EXPECT_EQ(backend_.output, "boot");
    EXPECT_EQ(in(lsr), 0x60);
}

TEST_F(UartTest, SlowLineHoldsTheTransmitterFull) {
    out(fcr, 1);
    for (int index = 0; index < 16; ++index)
        out(data, static_cast<std::uint8_t>('a' + index));
    EXPECT_EQ(in(lsr)&0x60, 0);
    backend_.room = 10;
    uart_.transmit_ready();
    EXPECT_EQ(in(lsr)&0x60, 0);
    backend_.room = 10;
    uart_.transmit_ready();
    EXPECT_EQ(in(lsr)&0x60, 0x60);
    EXPECT_EQ(backend_.output, "abcdefghijklmnop");
}

TEST_F(UartTest, TransmitRingWrapsInOrder) {
    out(fcr, 1);
    std::string expected;
    for (int index = 0; index < 100; ++index) {
        const char c = static_cast<char>('!' + index % 64);
        expected += c;
        out(data, static_cast<std::uint8_t>(c));
        if (index % 8 == 7) {
            backend_.room = 8;
            uart_.transmit_ready();
        }
    }
    backend_.room = 100;
    uart_.transmit_ready();
    EXPECT_EQ(backend_.output, expected);
}

TEST_F(UartTest, TransmitterEmptyInterrupt) {
    backend_.room = 100;
    out(ier, 0x02);
    EXPECT_TRUE(irqs_.level()) << "enabling with an empty transmitter interrupts at once";
    EXPECT_EQ(in(iir), 0x02);
    EXPECT_FALSE(irqs_.level()) << "reading IIR takes it back";
    EXPECT_EQ(in(iir), 0x01);
    out(data, 'x');
    EXPECT_TRUE(irqs_.level());
    // While the line is blocked there is no interrupt; when it drains there is one.
    backend_.room = 0;
    out(data, 'y');
    EXPECT_FALSE(irqs_.level());
    backend_.room = 1;
    uart_.transmit_ready();
    EXPECT_TRUE(irqs_.level());
    EXPECT_EQ(in(iir), 0x02);
    out(ier, 0x02);
    EXPECT_FALSE(irqs_.level()) << "it was enabled already";
    out(ier, 0x00);
    out(ier, 0x02);
    EXPECT_TRUE(irqs_.level());
}

TEST_F(UartTest, InputInterruptsAndIsRead) {
    out(ier, 0x01);
    backend_.send("k");
    EXPECT_TRUE(irqs_.level());
    EXPECT_EQ(in(lsr)&1, 1);
    EXPECT_EQ(in(iir), 0x04);
    EXPECT_EQ(in(data), 'k');
    EXPECT_FALSE(irqs_.level());
    EXPECT_EQ(in(lsr)&1, 0);
}

TEST_F(UartTest, TriggerLevelsAndTimeout) {
    const std::array<std::size_t, 4> levels{1, 4, 8, 14};
    out(ier, 0x01);
    for (unsigned select = 0; select < 4; ++select) {
        out(fcr, static_cast<std::uint8_t>(select << 6 | 0x03));
        backend_.send(std::string(levels[select], 'a'));
        EXPECT_EQ(in(iir), 0xc4) << "at the trigger level " << levels[select];
        EXPECT_EQ(in(data), 'a');
        EXPECT_EQ(in(iir), levels[select] == 1 ? 0xc1 : 0xcc) << "below it";
    }
}

TEST_F(UartTest, InterruptPriorities) {
    backend_.room = 100;
    out(fcr, 0x01);
    out(ier, 0x0f);
    backend_.send(std::string(17, 'a')); // one too many
    out(mcr, 0x10);                      // loopback: the modem's inputs drop
    EXPECT_EQ(in(iir), 0xc6);
    EXPECT_EQ(in(lsr)&0x02, 0x02);
    EXPECT_EQ(in(lsr)&0x02, 0) << "reading it clears the error";
    EXPECT_EQ(in(iir), 0xc4);
    for (int index = 0; index < 16; ++index)
        EXPECT_EQ(in(data), 'a');
    EXPECT_EQ(in(iir), 0xc2);
    EXPECT_EQ(in(iir), 0xc0);
    EXPECT_TRUE(irqs_.level());
    EXPECT_EQ(in(msr), 0x0b);
    EXPECT_EQ(in(iir), 0xc1);
    EXPECT_FALSE(irqs_.level());
}

TEST_F(UartTest, OverrunKeepsTheFifoAndLosesTheNewest) {
    out(fcr, 0x01);
    backend_.send("0123456789abcdefX");
    EXPECT_EQ(in(lsr)&0x02, 0x02);
    std::string text;
    while ((in(lsr)&1) != 0)
        text += static_cast<char>(in(data));
    EXPECT_EQ(text, "0123456789abcdef");
}

TEST_F(UartTest, OverrunWithoutFifoKeepsTheNewest) {
    backend_.send("ab");
    EXPECT_EQ(in(lsr)&0x03, 0x03);
    EXPECT_EQ(in(data), 'b');
}

TEST_F(UartTest, SpaceIsOfferedWhenTheFifoStopsBeingFull) {
    EXPECT_EQ(uart_.receive_space(), 1u);
    out(fcr, 0x01);
    EXPECT_EQ(uart_.receive_space(), 16u);
    backend_.send(std::string(16, 'a'));
    EXPECT_EQ(uart_.receive_space(), 0u);
    EXPECT_EQ(backend_.offers, 0u);
    in(data);
    EXPECT_EQ(backend_.offers, 1u);
    in(data);
    EXPECT_EQ(backend_.offers, 1u) << "there was room already";
}

TEST_F(UartTest, ClearingFifosEmptiesThemAndOffersSpace) {
    out(fcr, 0x01);
    backend_.send(std::string(16, 'a'));
    out(data, 'x');
    out(fcr, 0x07);
    EXPECT_EQ(in(lsr), 0x60);
    EXPECT_EQ(backend_.offers, 1u);
    backend_.room = 10;
    uart_.transmit_ready();
    EXPECT_TRUE(backend_.output.empty());
}

TEST_F(UartTest, LoopbackReturnsCharactersAndModemLines) {
    backend_.room = 100;
    out(mcr, 0x10);
    EXPECT_EQ(in(msr)&0xf0, 0);
    in(msr);
    out(data, 'z');
    EXPECT_TRUE(backend_.output.empty());
    EXPECT_EQ(in(data), 'z');
    out(mcr, 0x1a); // RTS to CTS, OUT2 to DCD: Linux's probe
    EXPECT_EQ(in(msr)&0xf0, 0x90);
    out(mcr, 0x15); // DTR to DSR, OUT1 to RI
    EXPECT_EQ(in(msr), 0x60 | 0x0b) << "RI only rose: no delta of its own";
    out(mcr, 0x11);
    EXPECT_EQ(in(msr), 0x20 | 0x04) << "the ring's end";
    EXPECT_EQ(uart_.receive_space(), 0u) << "the host's characters wait";
    out(mcr, 0x0b);
    EXPECT_EQ(uart_.receive_space(), 1u);
    EXPECT_EQ(backend_.offers, 1u);
    EXPECT_EQ(in(msr)&0xf0, 0xb0);
}

TEST_F(UartTest, BackendTypesALongTextWithoutLoss) {
    BufferBackend buffer;
    Uart uart(IrqLine(irqs_, 3), &buffer);
    ASSERT_TRUE(uart.attach(bus_, 0x2f8));
    std::string text;
    for (int index = 0; index < 1000; ++index)
        text += static_cast<char>('a' + index % 26);
    buffer.type(text);
    std::string got;
    while ((bus_.read(0x2fd, 1) & 1) != 0)
        got += static_cast<char>(bus_.read(0x2f8, 1));
    EXPECT_EQ(got, text);
}

TEST_F(UartTest, NothingPluggedInSwallowsOutput) {
    Uart uart(IrqLine(irqs_, 3), nullptr);
    ASSERT_TRUE(uart.attach(bus_, 0x2f8));
    bus_.write(0x2f8, 1, 'x');
    EXPECT_EQ(bus_.read(0x2fd, 1), 0x60u);
    EXPECT_EQ(bus_.read(0x2f8, 1), 0u);
}

TEST(UartLifetime, BackendHearsThatItsUartIsGone) {
    SlowBackend backend;
    RecordingIrqs irqs;
    {
        const Uart uart(IrqLine(irqs, 4), &backend);
        EXPECT_NE(backend.port, nullptr);
    }
    EXPECT_EQ(backend.port, nullptr);
}

} // namespace
} // namespace machine
