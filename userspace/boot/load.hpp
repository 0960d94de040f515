// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "boot/entry.hpp"
#include "boot/image.hpp"
#include "boot/screen.hpp"

namespace boot {

// One file for the guest with the words that go with it (multiboot modules have a command line
// each).
struct Module {
    Bytes bytes;
    std::string command_line;
};

// What every loader gets besides the kernel image.
struct Payload {
    std::string command_line;
    std::vector<Module> modules; // the first one is the initrd, where the protocol has only that
    std::uint64_t acpi_rsdp = 0; // 0: none
    std::optional<Screen> screen;
};

struct FlatOptions {
    std::uint64_t address = 0;
    Mode mode = Mode::real;
};

// "ADDR[,real|prot|long]" as after --flat; throws Error.
FlatOptions parse_flat(const std::string &text);

struct Request {
    std::string kernel;               // path
    std::string initrd;               // path, empty for none
    std::vector<std::string> modules; // "PATH ARGUMENTS", multiboot and PVH
    std::string command_line;
    std::optional<FlatOptions> flat; // set: take the image as it is
    std::optional<ImageKind> kind;   // set: take it for that, whatever it seems to be
    std::uint64_t acpi_rsdp = 0;
    std::optional<Screen> screen;
};

// Reads the files, recognises the kernel, puts everything into guest memory. Throws Error with one
// line.
Entry load(GuestMemory &memory, const Request &request);

// The same for an image in memory; `name` is for messages. Without a kind it is recognised.
Entry load_image(GuestMemory &memory, ByteView image, const Payload &payload,
                 const std::string &name, std::optional<ImageKind> kind = std::nullopt);

Entry load_flat(GuestMemory &memory, ByteView image, const FlatOptions &options);

// Helpers of the loaders. Each throws Error.
// "kernel needs N MiB at 0x..., guest has M MiB" unless the range is RAM outside the loader's own
// areas.
void require_ram(const GuestMemory &memory, const GpaRange &range, const char *what);
// Places `size` bytes page-aligned as high as possible in RAM from 1 MiB on, below `limit`, clear
// of `taken`.
std::uint64_t place_high(const GuestMemory &memory, std::uint64_t size, std::uint64_t limit,
                         const GpaRange &taken, const char *what);
struct PlacedModule {
    GpaRange range;
    std::uint64_t command_line = 0; // address
};

// All modules as high as possible below 4 GiB, clear of the kernel; the second also puts their
// command lines into `lines`.
std::vector<GpaRange> place_files(GuestMemory &memory, const Payload &payload,
                                  const GpaRange &kernel);
std::vector<PlacedModule> place_modules(GuestMemory &memory, const Payload &payload,
                                        const GpaRange &kernel, const GpaRange &lines);

// Writes the command line with its zero; refuses more than `limit` characters.
void put_command_line(GuestMemory &memory, const std::string &line, std::uint64_t limit);

} // namespace boot
