// SPDX-License-Identifier: GPL-2.0-only
// What firmware speaks to, IDE's drives with their bus master, fw_cfg and a flash, driven by a
// string of bytes over a little memory that holds any bytes too. For the random test here and for
// the fuzzer in tests/fuzz/.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <unistd.h>
#include <vector>

#include "machine/fake_slots.hpp"
#include "machine/fakes.hpp"
#include "machine/firmware/flash.hpp"
#include "machine/firmware/fw_cfg.hpp"
#include "machine/storage/ata_disk.hpp"
#include "machine/storage/atapi_cd.hpp"
#include "machine/storage/ide_channel.hpp"
#include "machine/storage/memory_disk.hpp"

namespace machine::storage {

class AnyFirmware {
  public:
    AnyFirmware() {
        attached_ = channel_.attach(bus_, 0x1f0, 0x3f6) && config_.attach(bus_);
        channel_.plug(0, std::make_unique<AtaDisk>(std::make_unique<MemoryDisk>(512), "any"));
        channel_.plug(1, std::make_unique<AtapiCd>(std::make_unique<MemoryDisk>(64)));
        config_.set_file("etc/any", "some text");
    }
    void run(std::span<const std::uint8_t> bytes) {
        for (bytes_ = bytes; !bytes_.empty();)
            step();
    }
    bool attached() const { return attached_; }
    std::uint64_t transferred() const { return transferred_; }

  private:
    std::uint64_t take(unsigned count) {
        std::uint64_t value = 0;
        for (; count > 0 && !bytes_.empty(); --count, bytes_ = bytes_.subspan(1))
            value = value << 8 | bytes_[0];
        return value;
    }
    // A word of memory, mostly where descriptors and access structures are looked for.
    void set_memory(std::uint8_t where) {
        ram_put(where < 200 ? where * 4u : take(2) % (ram_.size() - 4),
                static_cast<std::uint32_t>(take(4)));
    }
    void ram_put(std::uint64_t at, std::uint32_t value) { memory_.put(at, value); }
    void port(std::uint8_t what, unsigned size) {
        static constexpr std::array<std::uint16_t, 4> bases{0x1f0, 0x1f0, 0x3f6, 0x510};
        const auto at = static_cast<std::uint16_t>(bases[what & 3] + (what >> 2 & 7));
        if ((what & 0x20) != 0)
            bus_.write(at, size, static_cast<std::uint32_t>(take(size)));
        else
            transferred_ += bus_.read(at, size) != 0;
    }
    void flash(bool write, unsigned size) {
        const std::uint64_t at = flash_.gpa() + take(2) % File::bytes;
        if (write)
            mmio_.write(at, size, take(size));
        else
            transferred_ += mmio_.read(at, size) != 0;
    }
    void step() {
        const auto what = static_cast<std::uint8_t>(take(1));
        switch (what & 7) {
        case 0: set_memory(static_cast<std::uint8_t>(take(1))); break;
        case 1: channel_.write_master(what >> 3 & 7, static_cast<std::uint8_t>(take(1))); break;
        case 2: transferred_ += channel_.read_master(what >> 3 & 7) != 0; break;
        case 3: flash((what & 8) != 0, 1u << (what >> 4 & 3)); break;
        default: port(static_cast<std::uint8_t>(take(1)), 1u << (what >> 3) % 3); break;
        }
    }

    // Of zeroes, gone with this.
    struct File {
        static constexpr std::uint64_t bytes = 0x3000;
        File() {
            const Fd made(mkstemp(path.data()));
            if (ftruncate(made.get(), bytes) != 0) std::abort();
        }
        ~File() { unlink(path.c_str()); }
        File(const File &) = delete;
        File &operator=(const File &) = delete;
        std::string path = "/tmp/hwv-any-XXXXXX";
    };

    std::vector<std::byte> ram_ = std::vector<std::byte>(0x8000);
    GuestMemory memory_{{{0, ram_}}};
    RecordingIrqs irqs_;
    PortBus bus_;
    IdeChannel channel_{IrqLine{irqs_, 14}, memory_};
    firmware::FwCfg config_{memory_};
    FakeSlots slots_;
    MmioBus mmio_;
    File file_;
    firmware::Flash flash_{file_.path, 0xffc00000, slots_, mmio_};
    std::span<const std::uint8_t> bytes_;
    std::uint64_t transferred_ = 0;
    bool attached_ = false;
};

} // namespace machine::storage
