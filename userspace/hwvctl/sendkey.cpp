// SPDX-License-Identifier: GPL-2.0-only
// sendkey.cpp - hwvctl sendkey, powerbutton.
#include <chrono>
#include <thread>
#include <fmt/format.h>
#include "hwv/error.hpp"
#include "hwv/netlink.hpp"
#include "hwvctl/control.hpp"
#include "hwvctl/live.hpp"
#include "hwvctl/options.hpp"
#include "machine/keys.hpp"

namespace hwvctl {
namespace {

namespace po = boost::program_options;

constexpr std::chrono::seconds patience{10};
constexpr std::uint32_t default_delay_ms = 20, longest_delay_ms = 10'000;

// As a chord by name.
std::string key_for(char character) {
    const auto keys = machine::keys_for(character);
    if (!keys)
        throw UsageError{fmt::format("--text: a US keyboard has no key for byte {:#04x}",
                                     static_cast<unsigned char>(character))};
    const std::string name{machine::key_name(keys->back())};
    return keys->size() > 1 ? "shift-" + name : name;
}

std::vector<std::string> chords(const Words &words) {
    std::vector<std::string> out;
    for (const char c : words.text("text"))
        out.push_back(key_for(c));
    for (std::size_t i = 1; i < words.words.size(); ++i) {
        if (!machine::key_chord(words.words[i]))
            throw UsageError{"'" + words.words[i] + "' is no key"};
        out.push_back(words.words[i]);
    }
    if (out.empty()) throw UsageError{"KEYS or --text is missing"};
    return out;
}

ControlClient client_of(const std::string &name) {
    hwv::Netlink netlink;
    const std::vector<hwv_vm_entry> vms = netlink.vms();
    return ControlClient{hwv::find_vm(vms, name)};
}

} // namespace

int sendkey_command(const Arguments &arguments) {
    Options options{
        "sendkey VM [--text TEXT] [KEYS...]",
        std::string{
            "Types on the guest's keyboard: the text, as on a US keyboard, then each of KEYS, "
            "of which\nthose joined by - are held together. Names are QEMU's: ret, esc, tab, "
            "spc, up, f1, delete,\nkp_5, ctrl, alt, shift, meta_l, ctrl_r ... For a guest "
            "launched with --vga or --display.\n"} +
            vm_argument,
        "\nexamples:\n  hwvctl sendkey web ctrl-alt-delete\n"
        "  hwvctl sendkey web --text 'uname -a' ret\n  hwvctl sendkey web down down ret --delay "
        "100\n"};
    options.add()("text", po::value<std::string>()->value_name("TEXT"), "characters, typed first");
    options.add()("delay",
                  po::value<std::uint32_t>()->value_name("MS")->default_value(default_delay_ms),
                  "milliseconds between keys: BIOSes remember but a few");
    const std::optional<Words> words = options.parse(arguments, 1, 4096);
    if (!words) return 0;
    const std::vector<std::string> keys = chords(*words);
    const auto delay = words->get<std::uint32_t>("delay");
    if (delay > longest_delay_ms) throw UsageError{"--delay: at most 10000"};
    ControlClient client = client_of(words->words[0]);
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (i > 0) std::this_thread::sleep_for(std::chrono::milliseconds{delay});
        client.ask("key", {{"chord", keys[i]}}, patience);
    }
    return 0;
}

int powerbutton_command(const Arguments &arguments) {
    const Options options{
        "powerbutton VM",
        std::string{"Presses the guest's ACPI power button. What follows is the guest's decision: "
                    "most systems\nshut down, one without ACPI does nothing.\n"} +
            vm_argument,
        "\nexample:\n  hwvctl powerbutton web\n"};
    const std::optional<Words> words = options.parse(arguments, 1, 1);
    if (!words) return 0;
    client_of(words->words[0]).ask("power-button");
    return 0;
}

} // namespace hwvctl
