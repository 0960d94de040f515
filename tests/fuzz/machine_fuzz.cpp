// SPDX-License-Identifier: GPL-2.0-only
// libFuzzer's door to a whole machine; machine.sh builds and runs it.
#include <cstddef>
#include <cstdint>

#include "unit/machine/any_bytes.hpp"
#include "unit/machine/storage/any_firmware.hpp"
#include "unit/machine/virtio/any_driver.hpp"
#include "unit/machine/virtio/any_packets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *bytes, std::size_t size) {
    if (size == 0) return 0;
    if ((bytes[0] & 2) != 0) {
        machine::virtio::AnyDriver driver;
        driver.run({bytes + 1, size - 1});
        return 0;
    }
    if ((bytes[0] & 4) != 0) {
        machine::storage::AnyFirmware devices;
        devices.run({bytes + 1, size - 1});
        return 0;
    }
    if ((bytes[0] & 8) != 0) {
        machine::virtio::AnyPackets packets;
        packets.run({bytes + 1, size - 1});
        return 0;
    }
    machine::AnyBytes machine((bytes[0] & 1) != 0);
    machine.run({bytes + 1, size - 1});
    return 0;
}
