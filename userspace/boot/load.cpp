// SPDX-License-Identifier: GPL-2.0-only
#include "boot/load.hpp"

#include <algorithm>

#include "boot/bzimage.hpp"
#include "boot/gzip.hpp"
#include "boot/memory_map.hpp"
#include "boot/multiboot.hpp"
#include "boot/multiboot2.hpp"
#include "boot/pvh.hpp"

namespace boot {
namespace {

Payload read_payload(const Request &request) {
    Payload payload{request.command_line, {}, request.acpi_rsdp, request.screen};
    if (!request.initrd.empty())
        payload.modules.push_back({read_file(request.initrd), request.initrd});
    for (const auto &text : request.modules)
        payload.modules.push_back({read_file(text.substr(0, text.find(' '))), text});
    return payload;
}

} // namespace

Entry load(GuestMemory &memory, const Request &request) {
    auto image = read_file(request.kernel);
    if (request.flat) return load_flat(memory, image, *request.flat);
    if (is_gzip(image)) {
        try {
            image = gunzip(image);
        } catch (const Error &error) {
            throw Error(request.kernel + ": " + error.what());
        }
    }
    return load_image(memory, image, read_payload(request), request.kernel, request.kind);
}

Entry load_image(GuestMemory &memory, ByteView image, const Payload &payload,
                 const std::string &name, std::optional<ImageKind> kind) {
    write_bios_data(memory);
    try {
        switch (kind ? *kind : identify(image)) {
        case ImageKind::bzimage: return load_bzimage(memory, image, payload);
        case ImageKind::pvh: return load_pvh(memory, image, payload);
        case ImageKind::multiboot: return load_multiboot(memory, image, payload, name);
        case ImageKind::multiboot2: return load_multiboot2(memory, image, payload, name);
        case ImageKind::unknown: break;
        }
        throw Error(describe_unknown(image));
    } catch (const Error &error) {
        throw Error(name + ": " + error.what());
    }
}

void require_ram(const GuestMemory &memory, const GpaRange &range, const char *what) {
    const auto needs = std::string{what} + " needs " + mib(range.size) + " at " + hex(range.start);
    if (range.end() < range.start || !memory.is_ram(range.start, range.size))
        throw Error(needs + ", guest has " + mib(memory.size()));
    const GpaRange legacy{ebda.start, high_memory - ebda.start};
    const GpaRange own{tables_gpa, command_line_gpa + command_line_bytes - tables_gpa};
    if (range.overlaps(legacy))
        throw Error(needs + ", which is not free: the area below 1 MiB belongs to the firmware");
    if (range.overlaps(own))
        throw Error(needs + ", which is not free: the loader's tables are there");
}

std::uint64_t place_high(const GuestMemory &memory, std::uint64_t size, std::uint64_t limit,
                         const GpaRange &taken, const char *what) {
    const auto fits_below = [&](std::uint64_t top, std::uint64_t floor) {
        return top > floor && top - floor >= size;
    };
    const auto end = align_down(std::min(low_ram_end(memory), limit), 0x1000);
    if (fits_below(end, std::max(taken.end(), high_memory))) return align_down(end - size, 0x1000);
    const auto below = align_down(std::min(end, taken.start), 0x1000);
    if (fits_below(below, high_memory)) return align_down(below - size, 0x1000);
    throw Error(std::string{what} + " of " + mib(size) + " does not fit beside the kernel (" +
                hex(taken.start) + " to " + hex(taken.end()) + ") below " + hex(end));
}

std::vector<GpaRange> place_files(GuestMemory &memory, const Payload &payload,
                                  const GpaRange &kernel) {
    std::vector<GpaRange> placed;
    auto top = four_gib;
    for (const auto &module : payload.modules) {
        const auto at = place_high(memory, module.bytes.size(), top, kernel, "module");
        memory.write(at, module.bytes);
        top = at;
        placed.push_back({at, module.bytes.size()});
    }
    return placed;
}

std::vector<PlacedModule> place_modules(GuestMemory &memory, const Payload &payload,
                                        const GpaRange &kernel, const GpaRange &lines) {
    const auto files = place_files(memory, payload, kernel);
    std::vector<PlacedModule> placed;
    auto line_at = lines.start;
    for (std::size_t i = 0; i < files.size(); ++i) {
        const auto &line = payload.modules[i].command_line;
        if (!within(line_at - lines.start, line.size() + 1, lines.size))
            throw Error("the modules' command lines are too long together");
        memory.write(line_at, std::as_bytes(std::span{line.c_str(), line.size() + 1}));
        placed.push_back({files[i], line_at});
        line_at += line.size() + 1;
    }
    return placed;
}

void put_command_line(GuestMemory &memory, const std::string &line, std::uint64_t limit) {
    limit = std::min(limit, command_line_bytes - 1);
    if (line.size() > limit)
        throw Error("command line has " + std::to_string(line.size()) +
                    " characters, the kernel takes " + std::to_string(limit));
    if (!memory.is_ram(0, stack_gpa))
        throw Error("guest has no RAM below 640 KiB for the loader's tables");
    memory.write(command_line_gpa, std::as_bytes(std::span{line.c_str(), line.size() + 1}));
}

} // namespace boot
