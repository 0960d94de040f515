// SPDX-License-Identifier: GPL-2.0-only
#include "machine/virtio/transport.hpp"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "machine/fakes.hpp"
#include "machine/machine.hpp"

namespace machine::virtio {
namespace {

struct Probe final : Model {
    Kind kind() const override { return {42, 0x088000, {16, 8}}; }
    std::uint64_t features() const override { return 0x5; }
    std::span<const std::byte> configuration() noexcept override {
        return std::as_bytes(std::span{numbers});
    }
    void write_configuration(unsigned offset, std::span<const std::byte> bytes) noexcept override {
        written = {offset, bytes.size()};
    }
    bool start(Queues &queues, std::uint64_t accepted, Signals &to) noexcept override {
        running = {queues[0]->running(), queues[1]->running()};
        features_accepted = accepted;
        signals = &to;
        ++starts;
        return true;
    }
    void stop() noexcept override { ++stops; }
    void events_moved() noexcept override { ++moves; }
    std::array<std::uint32_t, 2> numbers{0x11223344, 0x55667788};
    std::pair<unsigned, std::size_t> written;
    std::pair<bool, bool> running;
    std::uint64_t features_accepted = 0;
    Signals *signals = nullptr;
    unsigned starts = 0, stops = 0, moves = 0;
};

class TransportTest : public testing::Test {
  protected:
    TransportTest() : ram_(0x10000) {
        MachineConfig config;
        config.clock = &clock_;
        config.pci = true;
        config.ram = GuestMemory{{{0, ram_}}};
        pc_ = std::make_unique<Machine>(std::move(config),
                                        MachineSinks{messages_, eois_, intr_, [](PowerEvent) {}});
        auto probe = std::make_unique<Probe>();
        probe_ = probe.get();
        pc_->pci_host()->add(std::make_unique<Transport>(std::move(probe), pc_->ram()));
        pc_->pci_host()->assign_resources(0);
    }
    std::uint64_t load(std::uint64_t offset, unsigned size) {
        std::uint64_t value = 0;
        pc_->handle_mmio(base + offset, size, false, &value);
        return value;
    }
    void store(std::uint64_t offset, unsigned size, std::uint64_t value) {
        pc_->handle_mmio(base + offset, size, true, &value);
    }
    std::uint32_t config(unsigned offset, unsigned size = 4) {
        return static_cast<std::uint32_t>(function()->read_config(offset, size));
    }
    pci::Function *function() { return pc_->pci_host()->find(8); }
    unsigned msix() {
        unsigned at = config(0x34, 1);
        while (config(at, 1) != 0x11)
            at = config(at + 1, 1);
        return at;
    }
    void negotiate(std::uint64_t features) {
        store(0x14, 1, 1);
        store(0x14, 1, 3);
        for (const std::uint64_t half : {0, 1}) {
            store(8, 4, half);
            store(12, 4, features >> (32 * half) & 0xffff'ffff);
        }
        store(0x14, 1, 0xb);
    }
    void enable_queue(std::uint64_t queue, std::uint64_t at) {
        store(0x16, 2, queue);
        store(0x18, 2, 8);
        store(0x20, 4, at);
        store(0x24, 4, 0);
        store(0x28, 8, at + 0x400);
        store(0x30, 8, at + 0x800);
        store(0x1c, 2, 1);
    }

    static constexpr std::uint64_t base = 0xc000'0000;
    ManualClock clock_;
    RecordingMessages messages_;
    RecordingEois eois_;
    RecordingIntr intr_;
    std::vector<std::byte> ram_;
    std::unique_ptr<Machine> pc_;
    Probe *probe_ = nullptr;
};

TEST_F(TransportTest, StructuresAreFoundByTheirCapabilities) {
    EXPECT_EQ(config(0), 0x106a'1af4u);
    unsigned found = 0;
    for (unsigned at = config(0x34, 1); at != 0; at = config(at + 1, 1))
        if (config(at, 1) == 9) found |= 1u << config(at + 3, 1);
    EXPECT_EQ(found, 0x3eu);
    EXPECT_EQ(load(0x12, 2), 2u);
    store(0x16, 2, 1);
    EXPECT_EQ(load(0x18, 2), 8u);
    store(0x16, 2, 2);
    EXPECT_EQ(load(0x18, 2), 0u);
    EXPECT_EQ(load(0x2000, 4), 0x11223344u);
    EXPECT_EQ(load(0x2002, 2), 0x1122u);
    EXPECT_EQ(load(0x2000, 8), 0x5566'7788'1122'3344u);
    EXPECT_EQ(load(0x2006, 4), 0x5566u);
    store(0x2004, 2, 7);
    EXPECT_EQ(probe_->written, (std::pair<unsigned, std::size_t>{4, 2}));
}

TEST_F(TransportTest, OnlyWhatIsOfferedIsAccepted) {
    EXPECT_EQ(load(4, 4), 0x3000'0005u);
    store(0, 4, 1);
    EXPECT_EQ(load(4, 4), 1u);
    store(0, 4, 2);
    EXPECT_EQ(load(4, 4), 0u);
    negotiate(feature::version_1 | 2);
    EXPECT_EQ(load(0x14, 1), 3u);
    negotiate(1); // without version 1
    EXPECT_EQ(load(0x14, 1), 3u);
    negotiate(feature::version_1 | 1);
    EXPECT_EQ(load(0x14, 1), 0xbu);
    store(12, 4, 0); // too late
    store(0x14, 1, 0xf);
    EXPECT_EQ(probe_->features_accepted, feature::version_1 | 1);
}

TEST_F(TransportTest, StartsWithTheQueuesThatAreEnabledAndStopsAtReset) {
    negotiate(feature::version_1);
    enable_queue(1, 0x1000);
    store(0x14, 1, 0xf);
    EXPECT_EQ(probe_->starts, 1u);
    EXPECT_EQ(probe_->running, (std::pair{false, true}));
    store(0x14, 1, 0xf);
    EXPECT_EQ(probe_->starts, 1u);
    store(0x14, 1, 0);
    EXPECT_EQ(probe_->stops, 1u);
    EXPECT_EQ(load(0x14, 1), 0u);
    store(0x16, 2, 1);
    EXPECT_EQ(load(0x1c, 2), 0u);
    // Rings outside memory: the device says so and does not start.
    negotiate(feature::version_1);
    enable_queue(0, 0x10000);
    store(0x14, 1, 0xf);
    EXPECT_EQ(load(0x14, 1) & 0x40, 0x40u);
    EXPECT_EQ(probe_->starts, 1u);
}

TEST_F(TransportTest, WithoutMsixThePinAndItsStatus) {
    negotiate(feature::version_1);
    enable_queue(0, 0);
    store(0x14, 1, 0xf);
    probe_->signals->queue_used(0);
    pc_->loop().run_ready();
    EXPECT_EQ(config(6, 2) & 8, 8u);
    EXPECT_EQ(load(0x1000, 1), 1u);
    EXPECT_EQ(config(6, 2) & 8, 0u);
    const auto before = load(0x15, 1);
    probe_->signals->needs_reset();
    pc_->loop().run_ready();
    EXPECT_NE(load(0x15, 1), before);
    EXPECT_EQ(load(0x14, 1), 0x4fu);
    EXPECT_EQ(load(0x1000, 1), 2u);
}

TEST_F(TransportTest, WithMsixAMessage) {
    const std::uint64_t table = config(0x18);
    std::uint64_t entry[] = {0xfee0'1000, 0x44};
    pc_->handle_mmio(table + 16, 8, true, &entry[0]);
    pc_->handle_mmio(table + 24, 8, true, &entry[1]);
    function()->write_config(msix() + 2, 2, 0x8000);
    negotiate(feature::version_1);
    enable_queue(0, 0);
    store(0x1a, 2, 9); // there is no such vector
    EXPECT_EQ(load(0x1a, 2), 0xffffu);
    store(0x1a, 2, 1);
    EXPECT_EQ(load(0x1a, 2), 1u);
    store(0x14, 1, 0xf);
    probe_->signals->queue_used(0);
    pc_->loop().run_ready();
    const RecordingMessages::Message expected{0xfee0'1000, 0x44};
    ASSERT_EQ(messages_.sent.size(), 1u);
    EXPECT_EQ(messages_.sent[0], expected);
    EXPECT_EQ(config(6, 2) & 8, 0u);
}

// Who serves a queue elsewhere signals the vector itself, and is told when that is another one.
TEST_F(TransportTest, AQueuesEventIsItsVectorsAsTheDriverHasIt) {
    const std::uint64_t table = config(0x18);
    std::uint64_t entry[] = {0xfee0'1000, 0x44};
    pc_->handle_mmio(table + 16, 8, true, &entry[0]);
    pc_->handle_mmio(table + 24, 8, true, &entry[1]);
    negotiate(feature::version_1);
    enable_queue(0, 0);
    store(0x1a, 2, 1);
    store(0x14, 1, 0xf);
    EXPECT_EQ(probe_->moves, 0u);
    EXPECT_EQ(probe_->signals->event(0), -1);
    function()->write_config(msix() + 2, 2, 0x8000);
    EXPECT_EQ(probe_->moves, 1u);
    eventfd_write(probe_->signals->event(0), 1);
    pc_->loop().run_ready();
    EXPECT_EQ(messages_.sent.size(), 1u);
    EXPECT_EQ(probe_->signals->event(1), -1) << "the driver gave it no vector";
    store(0x1a, 2, 0xffff);
    EXPECT_EQ(probe_->moves, 2u);
    EXPECT_EQ(probe_->signals->event(0), -1);
    store(0x14, 1, 0);
    function()->write_config(msix() + 2, 2, 0);
    store(0x1a, 2, 1);
    EXPECT_EQ(probe_->moves, 2u) << "it does not run";
}

TEST_F(TransportTest, ConfigurationSpaceIsAWindowToo) {
    unsigned at = config(0x34, 1);
    while (config(at, 1) != 9 || config(at + 3, 1) != 5)
        at = config(at + 1, 1);
    function()->write_config(at + 4, 1, 1);
    function()->write_config(at + 12, 4, 2);
    function()->write_config(at + 8, 4, 0x2002);
    EXPECT_EQ(config(at + 16, 2), 0x1122u);
    function()->write_config(at + 8, 4, 0x16);
    function()->write_config(at + 16, 2, 1);
    EXPECT_EQ(load(0x16, 2), 1u);
    function()->write_config(at + 12, 4, 3); // no width
    EXPECT_EQ(config(at + 16, 2), 1u);
}

} // namespace
} // namespace machine::virtio
