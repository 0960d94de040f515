// SPDX-License-Identifier: GPL-2.0-only
// Any bytes as a kernel image: the loaders load it or refuse it in one line, and write nowhere but into guest memory.
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "boot/load.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    static std::vector<std::byte> ram(4 * 1024 * 1024);
    static std::vector<std::byte> high(64 * 1024);
    boot::GuestMemory memory{std::vector<boot::RamRegion>{{0, ram}, {0x1'0000'0000, high}}};
    const boot::Payload payload{"console=ttyS0", {{boot::Bytes(5000), "initrd"}}, 0xe'0000};
    const auto image = std::as_bytes(std::span{data, size});
    try {
        boot::load_image(memory, image, payload, "image");
    } catch (const boot::Error &error) {
        const std::string text{error.what()};
        if (text.empty() || text.find('\n') != std::string::npos) std::abort();
    }
    return 0;
}
