// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include <map>
#include <set>

#include "machine/fakes.hpp"
#include "machine/machine.hpp"
#include "machine/pci/host.hpp"

namespace machine::pci {
namespace {

// Two kinds of BARs, an interrupt pin, three vectors.
struct Sample final : Function {
    Sample() : Function({.vendor = 0x1af4, .device = 0x1234, .class_code = 0x018000}) {
        add_bar(0, BarKind::io, 32);
        add_bar(1, BarKind::memory32, 4096);
        add_bar(2, BarKind::prefetchable64, 1u << 29);
        use_intx();
    }
    void attached() override { use_msix(3, 4); }
    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned) noexcept override {
        return bar * 0x1000 + offset;
    }
    void write_bar(unsigned bar, std::uint64_t offset, unsigned, std::uint64_t) noexcept override {
        written = bar * 0x1000 + offset;
    }
    void bar_mapped(unsigned bar, std::uint64_t base) noexcept override { places[bar] = base; }
    void bar_unmapped(unsigned bar, std::uint64_t base) noexcept override {
        EXPECT_EQ(places[bar], base);
        places.erase(bar);
    }
    using Function::set_intx;
    std::map<unsigned, std::uint64_t> places;
    std::uint64_t written = 0;
};

struct Slots final : MemorySlots {
    bool map(std::uint64_t gpa, std::span<std::byte> bytes, bool read_only) noexcept override {
        mapped[gpa] = {bytes.size(), read_only};
        return true;
    }
    void unmap(std::uint64_t gpa) noexcept override { mapped.erase(gpa); }
    std::map<std::uint64_t, std::pair<std::size_t, bool>> mapped;
};

struct Frame final : Function {
    explicit Frame(std::span<std::byte> bytes)
        : Function({.vendor = 0x1234, .device = 0x1111, .class_code = 0x030000}) {
        add_bar(0, BarKind::prefetchable32, bytes);
        add_rom(bytes.first(4096));
    }
};

class PciTest : public testing::Test {
  protected:
    PciTest() {
        MachineConfig config;
        config.clock = &clock_;
        config.pci = true;
        pc_ = std::make_unique<Machine>(
            std::move(config), MachineSinks{messages_, eois_, intr_,
                                            [this](PowerEvent) { ++power_events_; }, &slots_});
        auto sample = std::make_unique<Sample>();
        sample_ = sample.get();
        pc_->pci_host()->add(std::move(sample));
    }
    void out(std::uint16_t port, std::uint32_t value, unsigned size = 4) {
        pc_->handle_port(port, size, true, &value);
    }
    std::uint32_t in(std::uint16_t port, unsigned size = 4) {
        std::uint32_t value = 0;
        pc_->handle_port(port, size, false, &value);
        return value;
    }
    static std::uint32_t address(unsigned device, unsigned offset) {
        return 0x8000'0000 | device << 11 | (offset & 0xfc);
    }
    std::uint32_t read(unsigned device, unsigned offset, unsigned size = 4) {
        out(0xcf8, address(device, offset));
        return in(static_cast<std::uint16_t>(0xcfc + (offset & 3)), size);
    }
    void write(unsigned device, unsigned offset, std::uint32_t value, unsigned size = 4) {
        out(0xcf8, address(device, offset));
        out(static_cast<std::uint16_t>(0xcfc + (offset & 3)), value, size);
    }
    std::uint64_t load(std::uint64_t gpa, unsigned size = 4) {
        std::uint64_t value = 0;
        pc_->handle_mmio(gpa, size, false, &value);
        return value;
    }
    void store(std::uint64_t gpa, std::uint64_t value, unsigned size = 4) {
        pc_->handle_mmio(gpa, size, true, &value);
    }

    ManualClock clock_;
    RecordingMessages messages_;
    RecordingEois eois_;
    RecordingIntr intr_;
    Slots slots_;
    unsigned power_events_ = 0;
    std::unique_ptr<Machine> pc_;
    Sample *sample_ = nullptr;
};

TEST_F(PciTest, ConfigurationByPortsSharesItsWordWithReset) {
    EXPECT_EQ(read(0, 0), 0x29c0'8086u);
    EXPECT_EQ(in(0xcf8), 0x8000'0000u);
    EXPECT_EQ(read(1, 2, 2), 0x1234u);
    EXPECT_EQ(read(1, 3, 1), 0x12u);
    EXPECT_EQ(read(2, 0), 0xffff'ffffu);
    out(0xcf8, 0x0000'0800); // not enabled
    EXPECT_EQ(in(0xcfc), 0xffff'ffffu);
    out(0xcf8, 0x8001'0800); // bus 1
    EXPECT_EQ(in(0xcfc), 0xffff'ffffu);
    out(0xcf8, 0x8000'0e00); // would be a reset if the bytes went to port 0xcf9
    EXPECT_EQ(power_events_, 0u);
    out(0xcf9, 0x06, 1);
    EXPECT_EQ(power_events_, 1u);
}

TEST_F(PciTest, BarsTellTheirSizeAndKind) {
    const std::map<unsigned, std::uint32_t> sizes{{0x10, 0xffff'ffe1}, {0x14, 0xffff'f000},
                                                  {0x18, 0xe000'000c}, {0x1c, 0xffff'ffff},
                                                  {0x20, 0xffff'f000}, {0x24, 0}};
    for (const auto &[offset, size] : sizes) {
        write(1, offset, 0xffff'ffff);
        EXPECT_EQ(read(1, offset), size) << offset;
    }
    EXPECT_EQ(read(1, 0x30), 0u);
}

TEST_F(PciTest, BarsAnswerWhereTheyArePutAndOnlyWhileDecoded) {
    write(1, 0x10, 0xc101);
    write(1, 0x14, 0xd000'0000);
    write(1, 0x18, 0x4000'0000);
    write(1, 0x1c, 0x2);
    EXPECT_TRUE(sample_->places.empty());
    write(1, 4, 3, 2);
    EXPECT_EQ(sample_->places, (std::map<unsigned, std::uint64_t>{
                                   {0, 0xc100}, {1, 0xd000'0000}, {2, 0x2'4000'0000}}));
    EXPECT_EQ(in(0xc104, 2), 4u);
    EXPECT_EQ(load(0xd000'0ff8), 0x1ff8u);
    EXPECT_EQ(load(0x2'4000'0004), 0x2004u);
    write(1, 0x14, 0xd100'0000);
    EXPECT_EQ(load(0xd000'0ff8), 0xffff'ffffu);
    EXPECT_EQ(load(0xd100'0000, 8), 0x1000u);
    write(1, 4, 1, 2);
    EXPECT_EQ(load(0xd100'0000), 0xffff'ffffu);
    EXPECT_EQ(in(0xc100, 1), 0u);
    write(1, 4, 0, 2);
    EXPECT_EQ(in(0xc100, 1), 0xffu);
    EXPECT_TRUE(sample_->places.empty());
}

TEST_F(PciTest, ABarOnAnothersPlaceWaitsUntilThatIsFree) {
    pc_->pci_host()->add(std::make_unique<Sample>());
    for (unsigned device : {1, 2}) {
        write(device, 0x14, 0xd000'0000);
        write(device, 4, 2, 2);
    }
    store(0xd000'0010, 1);
    EXPECT_EQ(sample_->written, 0x1010u);
    sample_->written = 0;
    write(1, 0x14, 0xd200'0000);
    EXPECT_EQ(load(0xd000'0010), 0x1010u); // the second one's now
    store(0xd000'0010, 1);
    EXPECT_EQ(sample_->written, 0u);
    write(2, 0x14, 0xfec0'0000); // the IOAPIC keeps its place
    write(1, 0x10, 0x61);        // and the keyboard its ports
    write(1, 4, 3, 2);
    EXPECT_EQ(load(0xfec0'0000), 0u);
    EXPECT_EQ(sample_->places.count(0), 0u);
}

TEST_F(PciTest, FirmwaresWorkIsDoneForKernelsWithoutOne) {
    pc_->pci_host()->assign_resources(std::uint64_t{5} << 30);
    EXPECT_EQ(read(1, 4, 2), 3u);
    std::set<std::uint64_t> places;
    for (const auto &[bar, base] : sample_->places)
        places.insert(base);
    EXPECT_EQ(places,
              (std::set<std::uint64_t>{0xc000, 0xc000'0000, 0xc000'1000, std::uint64_t{5} << 30}));
    EXPECT_EQ(read(1, 0x3c, 2), 0x010au); // line 10, pin A
    // The mapped way to the same registers.
    EXPECT_EQ(load(0xb000'8000), 0x1234'1af4u);
    EXPECT_EQ(load(0xb000'8100), 0u);
    EXPECT_EQ(load(0xb001'0000), 0xffff'ffffu);
    store(0xb000'803c, 5, 1);
    EXPECT_EQ(read(1, 0x3c, 1), 5u);
    EXPECT_EQ(load(0xb00f'8000), 0x2918'8086u);
    write(0, 0x60, 0xe000'0003); // moved, and smaller
    EXPECT_EQ(load(0xb000'8000), 0xffff'ffffu);
    EXPECT_EQ(load(0xe000'8000), 0x1234'1af4u);
    EXPECT_EQ(load(0xe800'0000), 0xffff'ffffu);
}

TEST_F(PciTest, PinsReachTheIoapicAndWhereRoutedThePic) {
    store(0xfec0'0000, 0x10 + 2 * 17); // pin 17: level-triggered, vector 0x51
    store(0xfec0'0010, 0x8051);
    sample_->set_intx(true);
    EXPECT_EQ(messages_.sent.size(), 1u);
    EXPECT_FALSE(intr_.level);
    EXPECT_EQ(read(1, 6, 2) & 8, 8u);
    out(0x21, 0, 1);
    out(0xa1, 0, 1);
    write(31, 0x61, 10, 1);
    EXPECT_TRUE(intr_.level);
    write(31, 0x61, 0x80, 1);
    write(31, 0x61, 8, 1); // the clock's own
    sample_->set_intx(false);
    EXPECT_EQ(read(1, 6, 2) & 8, 0u);
    EXPECT_FALSE(intr_.level);
    pc_->eoi(0x51);
    EXPECT_EQ(messages_.sent.size(), 1u);
    write(1, 4, 0x400, 2);
    sample_->set_intx(true);
    EXPECT_EQ(messages_.sent.size(), 1u);
    write(1, 4, 0, 2);
    EXPECT_EQ(messages_.sent.size(), 2u);
}

TEST_F(PciTest, VectorsSendTheirMessageOnceTheyAreOpen) {
    pc_->pci_host()->assign_resources(0);
    const unsigned capability = read(1, 0x34, 1);
    EXPECT_EQ(read(1, capability), 0x0002'0011u);
    const unsigned table_bar = read(1, capability + 4) & 7;
    const std::uint64_t table = read(1, 0x10 + 4 * table_bar);
    const std::uint64_t pending = table + (read(1, capability + 8) & ~7u);
    store(table + 16, 0xfee0'1000);
    store(table + 24, 0x41);
    EXPECT_EQ(load(table + 28), 1u);
    EXPECT_EQ(load(table + 16, 8), 0xfee0'1000u);
    EXPECT_EQ(load(pending), 0u);
    write(1, capability + 2, 0x8000, 2);
    sample_->set_intx(true); // not with MSI-X on
    EXPECT_TRUE(messages_.sent.empty());
}

TEST(Msix, WhatComesWhileMaskedIsPending) {
    RecordingMessages messages;
    ManualClock clock;
    std::mutex lock;
    TimerQueue timers(clock);
    EventLoop loop(lock, timers);
    Msix msix(2, loop, messages, nullptr);
    msix.write(16, 8, 0xfee0'2000);
    msix.write(24, 4, 0x52);
    msix.control(true, false);
    msix.signal(1);
    msix.signal(7);
    EXPECT_EQ(msix.read(msix.pending_offset(), 4), 2u);
    EXPECT_TRUE(messages.sent.empty());
    msix.write(28, 4, 0);
    const RecordingMessages::Message expected{0xfee0'2000, 0x52};
    ASSERT_EQ(messages.sent.size(), 1u);
    EXPECT_EQ(messages.sent[0], expected);
    EXPECT_EQ(msix.read(msix.pending_offset(), 8), 0u);
    msix.control(true, true);
    msix.signal(1);
    msix.signal(1);
    msix.control(true, false);
    EXPECT_EQ(messages.sent.size(), 2u);
    EXPECT_EQ(msix.event(2), -1);
}

TEST_F(PciTest, MemoryBarsAndRomsGoThroughSlots) {
    static std::array<std::byte, 1 << 16> memory;
    pc_->pci_host()->add(std::make_unique<Frame>(memory), {5, 0});
    write(5, 0x10, 0xe000'0000);
    write(5, 4, 2, 2);
    EXPECT_EQ(slots_.mapped.size(), 1u);
    EXPECT_EQ(slots_.mapped[0xe000'0000], std::pair(std::size_t{1 << 16}, false));
    write(5, 0x30, 0xffff'ffff);
    EXPECT_EQ(read(5, 0x30), 0xffff'f001u);
    write(5, 0x30, 0xe100'0001);
    EXPECT_EQ(slots_.mapped[0xe100'0000], std::pair(std::size_t{4096}, true));
    write(5, 4, 0, 2);
    EXPECT_TRUE(slots_.mapped.empty());
}

TEST_F(PciTest, SlotsAndSeveralFunctions) {
    Host &host = *pc_->pci_host();
    EXPECT_EQ(read(1, 0xe, 1), 0u);
    host.add(std::make_unique<Sample>(), {1, 3});
    EXPECT_EQ(read(1, 0xe, 1), 0x80u);
    EXPECT_THROW(host.add(std::make_unique<Sample>(), {1, 3}), std::logic_error);
    EXPECT_THROW(host.add(std::make_unique<Sample>(), {31, 0}), std::logic_error);
    for (unsigned slot = 2; slot < 25; ++slot)
        host.add(std::make_unique<Sample>());
    EXPECT_THROW(host.add(std::make_unique<Sample>()), std::length_error);
}

TEST(PortBusRelease, GivesPortsBackForOthers) {
    PortBus bus;
    struct Zero final : Device {
        std::uint64_t read(std::uint64_t, unsigned) noexcept override { return 0; }
        void write(std::uint64_t, unsigned, std::uint64_t) noexcept override {}
    } device;
    for (unsigned round = 0; round < 1000; ++round) {
        ASSERT_TRUE(bus.claim({.first = 0x100, .count = 8}, device));
        bus.release(0x104); // not its beginning
        EXPECT_EQ(bus.read(0x107, 1), 0u);
        bus.release(0x100);
        EXPECT_EQ(bus.read(0x107, 1), 0xffu);
        bus.release(0x100);
    }
    MmioBus mmio;
    for (std::uint64_t at = 0; at < MmioBus::max_ranges; ++at)
        ASSERT_TRUE(mmio.claim(at << 12, 4096, device));
    EXPECT_FALSE(mmio.claim(1u << 30, 4096, device));
    mmio.release(0x1000);
    EXPECT_EQ(mmio.read(0x1000, 1), 0xffu);
    EXPECT_TRUE(mmio.claim(1u << 30, 4096, device));
}

} // namespace
} // namespace machine::pci
