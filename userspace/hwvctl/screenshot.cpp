// SPDX-License-Identifier: GPL-2.0-only
// screenshot.cpp - hwvctl screenshot.
#include <cstdio>
#include <cstring>
#include <fmt/format.h>
#include <png.h>
#include <unistd.h>
#include "hwv/error.hpp"
#include "hwv/netlink.hpp"
#include "hwvctl/control.hpp"
#include "hwvctl/live.hpp"
#include "hwvctl/options.hpp"

namespace hwvctl {
namespace {

void write_png(const std::string &path, const ControlMessage &picture) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = picture.head.value("width", 0u);
    image.height = picture.head.value("height", 0u);
    image.format = PNG_FORMAT_RGB;
    if (image.width == 0 || image.height == 0 ||
        picture.body.size() != std::size_t{3} * image.width * image.height)
        throw hwv::Error{EPROTO, "the VM's launcher sent no picture"};
    const int done =
        path == "-"
            ? png_image_write_to_stdio(&image, stdout, 0, picture.body.data(), 0, nullptr)
            : png_image_write_to_file(&image, path.c_str(), 0, picture.body.data(), 0, nullptr);
    if (!done) throw hwv::Error{EIO, "write '" + path + "': " + image.message};
}

std::string screen_json(nlohmann::json screen) {
    for (const char *own : {"ok", "protocol"})
        screen.erase(own);
    return json_text(screen);
}

} // namespace

int screenshot_command(const Arguments &arguments) {
    Options options{
        "screenshot VM [FILE.png]",
        std::string{
            "What the guest's screen shows: as a picture in FILE.png (- is standard output), "
            "and in text\nmodes as text. For a guest launched with --vga or --display.\n"} +
            vm_argument,
        "\nexamples:\n  hwvctl screenshot web web.png\n  hwvctl screenshot web --text | grep "
        "login\n"
        "  hwvctl screenshot web --json     mode, size, text, cursor\n"};
    options.add()("text,t", "print the characters of a text mode, as UTF-8");
    options.add()("json", "print mode, size, characters and cursor as JSON");
    const std::optional<Words> words = options.parse(arguments, 1, 2);
    if (!words) return 0;
    const bool text = words->has("text"), json = words->has("json"),
               file = words->words.size() == 2;
    if (!text && !json && !file) throw UsageError{"FILE.png, --text or --json is missing"};
    if (text && json) throw UsageError{"--text and --json exclude each other"};
    if (file && words->words[1] == "-" && (text || json || ::isatty(STDOUT_FILENO)))
        throw UsageError{"a picture does not go to a terminal, nor between text"};
    hwv::Netlink netlink;
    const std::vector<hwv_vm_entry> vms = netlink.vms();
    ControlClient client{hwv::find_vm(vms, words->words[0])};
    if (file) write_png(words->words[1], client.ask("picture"));
    if (!text && !json) return 0;
    const nlohmann::json screen = client.ask("screen").head;
    if (json) {
        fmt::print("{}\n", screen_json(screen));
        return 0;
    }
    if (!screen.contains("text"))
        throw hwv::Error{ENODATA,
                         fmt::format("the screen shows graphics of {} x {}, no text: hwvctl "
                                     "screenshot {} FILE.png",
                                     screen.value("width", 0), screen.value("height", 0),
                                     words->words[0])};
    fmt::print("{}", screen.value("text", std::string{}));
    return 0;
}

} // namespace hwvctl
