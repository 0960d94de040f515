// SPDX-License-Identifier: GPL-2.0-only
// Virtio devices on a PCI bus, driven by a string of bytes: registers, rings and buffers as no
// driver would write them, and now and then as one would. For the random test here and for the
// fuzzer in tests/fuzz/.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "machine/fakes.hpp"
#include "machine/machine.hpp"
#include "machine/virtio/balloon.hpp"
#include "machine/virtio/block_request.hpp"
#include "machine/virtio/console.hpp"
#include "machine/virtio/net.hpp"
#include "machine/virtio/rng.hpp"
#include "machine/virtio/transport.hpp"

namespace machine::virtio {

// A disk in memory, every request of which is done at once.
class InstantBlock final : public LoopModel, private storage::Disk {
  public:
    using LoopModel::LoopModel;
    Kind kind() const override { return {2, 0x010000, {16}}; }
    std::uint64_t features() const override { return 1u << 9; }

  private:
    void serve(unsigned number) noexcept override {
        Queue &requests = *queue(number);
        for (unsigned i = 0; i < turn && requests.pop(request_.chain); ++i) {
            request_.transfer(*this, request_.begin(*this, "serial"));
            requests.push(request_.chain.head, request_.written());
        }
        requests.publish();
        if (requests.wait_for_more()) requests.ring();
    }
    std::uint64_t bytes() const override { return content_.size(); }
    bool read_only() const override { return false; }
    int read(std::span<const iovec> to, std::uint64_t offset) noexcept override {
        scatter(to, std::span{content_}.subspan(offset, Chain::bytes(to)));
        return 0;
    }
    int write(std::span<const iovec> from, std::uint64_t offset) noexcept override {
        gather(std::span{content_}.subspan(offset, Chain::bytes(from)), from);
        return 0;
    }
    int flush() noexcept override { return 0; }
    int discard(std::uint64_t offset, std::uint64_t length) noexcept override {
        return write_zeroes(offset, length, false);
    }
    int write_zeroes(std::uint64_t offset, std::uint64_t length, bool) noexcept override {
        std::memset(std::span{content_}.subspan(offset, length).data(), 0, length);
        return 0;
    }
    BlockRequest request_;
    std::vector<std::byte> content_ = std::vector<std::byte>(16384);
};

struct Echo final : net::Link {
    void send(std::span<const std::byte> frame) noexcept override { back(frame); }
    void back(std::span<const std::byte> frame) noexcept {
        if (receiver_ != nullptr) receiver_->receive(frame);
    }
};

class AnyDriver {
  public:
    AnyDriver() : ram_(0x10000) {
        MachineConfig config;
        config.clock = &clock_;
        config.pci = true;
        config.ram = GuestMemory{{{0, ram_}}};
        pc_ = std::make_unique<Machine>(std::move(config),
                                        MachineSinks{messages_, eois_, intr_, [](PowerEvent) {}});
        EventLoop &loop = pc_->loop();
        auto backend = std::make_unique<BufferBackend>(4096);
        auto echo = std::make_unique<Echo>();
        typist_ = backend.get();
        echo_ = echo.get();
        add(std::make_unique<Rng>(loop));
        add(std::make_unique<Console>(loop, std::move(backend)));
        add(std::make_unique<Net>(loop, std::move(echo), net::Mac{2}));
        add(std::make_unique<InstantBlock>(loop));
        add(std::make_unique<Balloon>(loop, pc_->ram()));
        pc_->pci_host()->assign_resources(0);
    }

    void run(std::span<const std::uint8_t> bytes) {
        bytes_ = bytes;
        while (!bytes_.empty())
            step();
        messages_.sent.clear();
    }
    std::uint64_t used() const { return used_; }

  private:
    static constexpr unsigned devices = 5, often = 3;
    static constexpr std::uint32_t balloon = 4, balloon_features = 0x26;
    static constexpr std::uint64_t structures = 0xc000'0000;

    void add(std::unique_ptr<Model> model) {
        pc_->pci_host()->add(std::make_unique<Transport>(std::move(model), pc_->ram()));
    }
    std::uint64_t take(unsigned count) {
        std::uint64_t value = 0;
        for (; count > 0 && !bytes_.empty(); --count, bytes_ = bytes_.subspan(1))
            value = value << 8 | bytes_[0];
        return value;
    }
    std::uint32_t config(unsigned device, unsigned offset, unsigned size, bool write,
                         std::uint32_t value) {
        std::uint32_t address = 0x8000'0000 | (device + 1) << 11 | (offset & 0xfc);
        pc_->handle_port(0xcf8, 4, true, &address);
        pc_->handle_port(static_cast<std::uint16_t>(0xcfc + (offset & 3)), size, write, &value);
        return value;
    }
    std::uint64_t memory_bar(unsigned device) { return config(device, 0x14, 4, false, 0) & ~15u; }
    void store(std::uint64_t at, unsigned size, std::uint64_t value) {
        pc_->handle_mmio(at, size, true, &value);
    }
    // As a driver does: both queues with rings in the first pages.
    void set_up(unsigned device, bool event_index) {
        const std::uint64_t common = memory_bar(device);
        store(common + 0x14, 1, 0);
        for (const std::uint64_t half : {0, 1}) {
            store(common + 8, 4, half);
            const std::uint32_t own = device == balloon ? balloon_features : 0;
            store(common + 12, 4, half != 0 ? 1 : own | (event_index ? 3u << 28 : 1u << 28));
        }
        store(common + 0x14, 1, 0xb);
        for (std::uint64_t queue = 0; queue < 2; ++queue) {
            store(common + 0x16, 2, queue);
            store(common + 0x18, 2, 8);
            store(common + 0x1a, 2, queue);
            store(common + 0x20, 8, queue * 0x1000);
            store(common + 0x28, 8, queue * 0x1000 + 0x400);
            store(common + 0x30, 8, queue * 0x1000 + 0x800);
            store(common + 0x1c, 2, 1);
        }
        store(common + 0x14, 1, 0xf);
    }
    // A chain that is right but for what the bytes say.
    void offer() {
        const std::uint64_t base = take(1) % 2 * 0x1000;
        const auto head = static_cast<unsigned>(take(1) % 8);
        const auto count = static_cast<unsigned>(take(1) % 4);
        for (unsigned i = 0; i <= count; ++i) {
            std::byte *entry = &ram_[base + 16 * ((head + i) % 8)];
            const std::uint64_t address = 0x2000 + take(2) % 0xe100;
            const auto length = static_cast<std::uint32_t>(take(1) * (take(1) % 16));
            const auto flags = static_cast<std::uint16_t>((i < count ? 1 : 0) | (take(1) & 6));
            const auto next = static_cast<std::uint16_t>((head + i + 1) % 8);
            std::memcpy(entry, &address, 8);
            std::memcpy(entry + 8, &length, 4);
            std::memcpy(entry + 12, &flags, 2);
            std::memcpy(entry + 14, &next, 2);
        }
        std::uint16_t index = 0;
        const auto which = static_cast<std::uint16_t>(head);
        std::memcpy(&index, &ram_[base + 0x402], 2);
        std::memcpy(&ram_[base + 0x404 + 2 * (index % 8u)], &which, 2);
        ++index;
        std::memcpy(&ram_[base + 0x402], &index, 2);
    }
    void host(std::uint8_t what) {
        const std::vector<std::byte> frame(take(1) * (what & 15));
        if ((what & 1) != 0)
            typist_->type(std::string(take(1), 'i'));
        else
            echo_->back(frame);
    }
    void step() {
        const auto what = static_cast<std::uint8_t>(take(1));
        auto device = static_cast<unsigned>(what >> 3 & 3);
        if (device >= often) device = often + static_cast<unsigned>(take(1)) % (devices - often);
        const unsigned size = 1u << (what >> 5 & 3);
        switch (what & 7) {
        case 0: {
            const auto offset = static_cast<unsigned>(take(1));
            config(device, offset, size == 8 ? 4 : size, (what & 0x80) != 0,
                   static_cast<std::uint32_t>(take(4)));
            break;
        }
        case 1:
        case 2: {
            const std::uint64_t at = structures + take(2) % 0x18000;
            std::uint64_t value = take(size);
            pc_->handle_mmio(at, size, (what & 0x80) != 0, &value);
            break;
        }
        case 3: set_up(device, (what & 0x80) != 0); break;
        case 4: offer(); break;
        case 5: {
            auto value = static_cast<std::uint32_t>(take(1));
            pc_->handle_port(static_cast<std::uint16_t>(0xc000 + take(1)), 2, true, &value);
            break;
        }
        case 6: {
            const std::size_t at = take(2);
            ram_[at] = static_cast<std::byte>(take(1));
            break;
        }
        default: host(what); break;
        }
        for (unsigned i = 0; i < 4; ++i)
            pc_->loop().run_ready();
        used_ += static_cast<std::uint64_t>(ram_[0x802]) + static_cast<std::uint64_t>(ram_[0x1802]);
    }

    ManualClock clock_;
    RecordingMessages messages_;
    RecordingEois eois_;
    RecordingIntr intr_;
    std::vector<std::byte> ram_;
    BufferBackend *typist_ = nullptr;
    Echo *echo_ = nullptr;
    std::unique_ptr<Machine> pc_;
    std::span<const std::uint8_t> bytes_;
    std::uint64_t used_ = 0;
};

} // namespace machine::virtio
