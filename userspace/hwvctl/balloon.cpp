// SPDX-License-Identifier: GPL-2.0-only
// balloon.cpp - hwvctl balloon.
#include <chrono>
#include <thread>
#include <fmt/format.h>
#include "hwv/error.hpp"
#include "hwv/netlink.hpp"
#include "hwvctl/control.hpp"
#include "hwvctl/live.hpp"
#include "hwvctl/options.hpp"

namespace hwvctl {
namespace {

namespace po = boost::program_options;
using nlohmann::json;
using Moment = std::chrono::steady_clock::time_point;

constexpr std::chrono::milliseconds between_looks{20};
constexpr std::chrono::seconds guest_says_within{1};

std::uint64_t mib(const json &state, const char *name) {
    return state.value(name, std::uint64_t{0}) >> 20;
}

// Until the guest has given, or taken back, what was asked for.
json settled(ControlClient &client, Moment deadline) {
    for (;;) {
        json state = client.ask("balloon").head;
        if (state["actual"] == state["target"]) return state;
        if (std::chrono::steady_clock::now() >= deadline)
            throw hwv::Error{ETIMEDOUT, fmt::format("the guest has given {} MiB of {}",
                                                    mib(state, "actual"), mib(state, "target"))};
        std::this_thread::sleep_for(between_looks);
    }
}

// With what the guest says of its memory now, if it says anything.
json look(ControlClient &client) {
    json state = client.ask("balloon", {{"ask", true}}).head;
    const Moment deadline = std::chrono::steady_clock::now() + guest_says_within;
    while (!state["guest"].empty() && state["asked"] == true &&
           std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(between_looks);
        state = client.ask("balloon").head;
    }
    return state;
}

void print(json state, bool as_json) {
    for (const char *own : {"ok", "protocol", "asked"})
        state.erase(own);
    if (as_json) return fmt::print("{}\n", json_text(state));
    if (!state.value("driven", false)) return fmt::print("the guest has no driver for it\n");
    fmt::print("asked for {} MiB, given {} MiB; back at the host so far {} MiB asked for, {} MiB "
               "told of\n",
               mib(state, "target"), mib(state, "actual"), mib(state, "inflated"),
               mib(state, "reported"));
    const json &guest = state["guest"];
    if (!guest.empty())
        fmt::print("in the guest: {} MiB, {} available, {} free\n", mib(guest, "total"),
                   mib(guest, "available"), mib(guest, "free"));
}

} // namespace

int balloon_command(const Arguments &arguments) {
    Options options{
        "balloon VM [MIB]",
        std::string{
            "Asks the guest to give MIB MiB of its memory to the host; 0 gives all back. Without "
            "MIB, says\nwhat was given. What the guest has free goes to the host anyway, where its "
            "driver tells of it.\nFor a guest launched with --balloon.\n"} +
            vm_argument,
        "\nexamples:\n  hwvctl balloon web 512 --wait 10\n  hwvctl balloon web --json\n"};
    options.add()("wait", po::value<unsigned>()->value_name("SECONDS"),
                  "until the guest has done it, at most so long")("json", "print JSON");
    const std::optional<Words> words = options.parse(arguments, 1, 2);
    if (!words) return 0;
    const bool change = words->words.size() == 2;
    const std::uint64_t size = change ? parse_number(words->words[1], "MIB") : 0;
    if (size > 1u << 20) throw UsageError{"MIB: at most 1048576, which is 1 TiB"};
    hwv::Netlink netlink;
    const std::vector<hwv_vm_entry> vms = netlink.vms();
    ControlClient client{hwv::find_vm(vms, words->words[0])};
    if (change) client.ask("balloon", {{"target", size << 20}});
    if (words->has("wait"))
        settled(client, std::chrono::steady_clock::now() +
                            std::chrono::seconds{words->get<unsigned>("wait")});
    if (!change || words->has("json")) print(look(client), words->has("json"));
    return 0;
}

} // namespace hwvctl
