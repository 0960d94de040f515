// SPDX-License-Identifier: GPL-2.0-only
// events.cpp - hwvctl events: what happens to VMs, line by line as it happens.
#include <csignal>
#include <cstdio>
#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>
#include "hwv/error.hpp"
#include "hwv/events.hpp"
#include "hwv/netlink.hpp"
#include "hwvctl/live.hpp"
#include "hwvctl/options.hpp"

namespace hwvctl {
namespace {

namespace po = boost::program_options;

constexpr const char *what =
    R"(Tells live what happens to VMs, one line for each event, until Ctrl-C; with VM of that one, until it ends. As root of all
VMs, else of your own ones. Events: vm_created, vm_started, vm_paused, vm_resumed, vm_killed, vm_ended (why: closed, killed or
triple_fault), triple_fault, policy_hit (a rule acted), ring_overflow (a record had no room in an observer's ring). The last three
come at most ten times a second for each VM; count says for how many one stands, the rest is of the first of them.
)";

constexpr const char *examples = R"(
examples:
  hwvctl events
  hwvctl events web --json | jq -c 'select(.event == "policy_hit")'
)";

volatile std::sig_atomic_t asked_to_end = 0;

void end_at_signals() {
    struct sigaction action {};
    action.sa_handler = [](int) { asked_to_end = 1; }; // without SA_RESTART: the wait ends, too
    for (int s : {SIGINT, SIGTERM, SIGHUP})
        ::sigaction(s, &action, nullptr);
}

bool comes_from_guest(hwv_netlink_event kind) {
    return kind == HWV_NEWS_TRIPLE_FAULT || kind == HWV_NEWS_POLICY_HIT ||
           kind == HWV_NEWS_RING_OVERFLOW;
}

// What the kind has besides: in the order in which it is shown.
nlohmann::ordered_json details(const hwv::Event &e) {
    nlohmann::ordered_json out = nlohmann::ordered_json::object();
    if (e.kind == HWV_NEWS_VM_CREATED) out = {{"pid", e.pid}, {"uid", e.uid}};
    if (e.kind == HWV_NEWS_VM_ENDED) out["why"] = hwv::end_name(e.why);
    if (!comes_from_guest(e.kind)) return out;
    out["vcpu"] = e.vcpu;
    if (e.kind == HWV_NEWS_POLICY_HIT) {
        out["reason"] = hwv::exit_name(e.reason);
        out["key"] = fmt::format("{:#x}", e.key);
        out["holder"] = e.holder;
        out["rule"] = e.rule;
    }
    if (e.kind != HWV_NEWS_RING_OVERFLOW) out["rip"] = fmt::format("{:#x}", e.rip);
    out["count"] = e.count;
    return out;
}

std::string name_of(const hwv::Event &e) {
    hwv_vm_entry vm{};
    e.name.copy(vm.name, sizeof vm.name - 1);
    return hwv::shown_name(vm);
}

std::string text(const hwv::Event &e) {
    std::string out = fmt::format("[{}.{:06}] VM {}{}{} {}", e.time_ns / 1'000'000'000,
                                  e.time_ns / 1000 % 1'000'000, e.vm, e.name.empty() ? "" : " ",
                                  name_of(e), hwv::event_name(e.kind));
    const nlohmann::ordered_json all = details(e);
    for (const auto &[key, value] : all.items())
        out +=
            fmt::format(" {}={}", key, value.is_string() ? value.get<std::string>() : value.dump());
    return out;
}

std::string json(const hwv::Event &e) {
    nlohmann::ordered_json out{{"time_seconds", static_cast<double>(e.time_ns) / 1e9},
                               {"vm", e.vm},
                               {"name", e.name},
                               {"sequence", e.sequence},
                               {"event", hwv::event_name(e.kind)}};
    out.update(details(e));
    return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// A VM's events are numbered: those between two that came are lost.
class Gaps {
  public:
    std::uint64_t before(const hwv::Event &e) {
        const auto [entry, first] = last_.try_emplace(e.vm, e.sequence);
        const std::uint64_t lost = first ? 0 : e.sequence - entry->second - 1;
        entry->second = e.sequence;
        return lost;
    }

  private:
    std::map<std::uint64_t, std::uint64_t> last_;
};

} // namespace

int events_command(const Arguments &arguments) {
    Options options{"events [VM] [--json] [--count N]", std::string{what} + "\n" + vm_argument,
                    examples};
    options.add()("json", "for programs: one object a line")(
        "count,n", po::value<std::uint64_t>()->value_name("N"), "end after so many");
    const std::optional<Words> words = options.parse(arguments, 0, 1);
    if (!words) return 0;
    end_at_signals();
    hwv::Subscription subscription; // before the VM is looked for: it may end meanwhile
    std::uint64_t only = 0, left = words->has("count") ? words->get<std::uint64_t>("count") : ~0ull;
    if (!words->words.empty()) {
        const std::vector<hwv_vm_entry> vms = hwv::Netlink{}.vms();
        only = hwv::find_vm(vms, words->words[0]).id;
    }
    Gaps gaps;
    while (!asked_to_end && left) {
        const std::optional<hwv::Event> event = subscription.next(500);
        if (!event || (only && event->vm != only)) continue;
        if (const std::uint64_t lost = gaps.before(*event))
            fmt::print(stderr, "hwvctl: {} event(s) of VM {} were lost\n", lost, event->vm);
        fmt::print("{}\n", words->has("json") ? json(*event) : text(*event));
        std::fflush(stdout);
        --left;
        if (only && event->kind == HWV_NEWS_VM_ENDED) break;
    }
    return 0;
}

} // namespace hwvctl
