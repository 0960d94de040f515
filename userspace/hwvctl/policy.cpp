// SPDX-License-Identifier: GPL-2.0-only
// policy.cpp - hwvctl policy: which exits exist, and what happens at them.
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>
#include "hwv/error.hpp"
#include "hwv/netlink.hpp"
#include "hwvctl/holder.hpp"
#include "hwvctl/live.hpp"
#include "hwvctl/options.hpp"
#include "hwvctl/policy_text.hpp"
#include "hwvctl/stops.hpp"

namespace hwvctl {
namespace {

namespace po = boost::program_options;

constexpr const char *usage = "policy set VM FILE [OPTIONS] | get VM | reset VM";

constexpr const char *what =
    R"(set: the rules of FILE (- is stdin) hold for the VM, instead of those that `hwvctl policy set` gave it before.
get: all rules in force, whoever gave them, how often each matched and acted. reset: those of `policy set` go.

The VM keeps the rules until reset, by anybody who may, or its end; with --foreground they last until Ctrl-C. `hwvctl run
--policy FILE` has them from the first instruction on. A rule that stops needs somebody who replies: with --on-stop a process
in the background, which holds the rules, or with --foreground you, on the terminal.

)";

constexpr const char *examples = R"(
examples:
  echo 'rdtsc cpl=3 -> count' | hwvctl policy set web -
  hwvctl policy set web hide.policy; hwvctl policy get web; hwvctl policy reset web
  hwvctl policy set web stop.policy --foreground          asks at each stop
  hwvctl policy set web stop.policy --on-stop 'inject GP'
)";

volatile std::sig_atomic_t asked_to_end = 0;

void end_at_signals() {
    struct sigaction action {};
    action.sa_handler = [](int) { asked_to_end = 1; }; // without SA_RESTART: a prompt ends too
    for (int s : {SIGINT, SIGTERM, SIGHUP})
        ::sigaction(s, &action, nullptr);
}

// Of one holder after the other; json: all in one list.
void show(const std::vector<hwv::HeldRule> &held, bool json) {
    nlohmann::json all = nlohmann::json::array();
    std::vector<hwv::Rule> rules;
    for (std::size_t i = 0; i < held.size(); ++i) {
        rules.push_back(held[i].rule);
        if (i + 1 < held.size() && held[i + 1].holder == held[i].holder) continue;
        for (nlohmann::json rule : policy_json(rules)) {
            rule["holder"] = held[i].holder;
            all.push_back(std::move(rule));
        }
        if (!json && held[i].holder) fmt::print("of observer {}:\n", held[i].holder);
        if (!json) fmt::print("{}", policy_table(rules));
        rules.clear();
    }
    if (json) fmt::print("{}\n", json_text(all));
}

int get(hwv::Netlink &netlink, std::uint64_t vm, bool json) {
    const std::vector<hwv::HeldRule> held = netlink.policy(vm);
    if (held.empty() && !json)
        fmt::print("VM {} has no rules\n", vm);
    else
        show(held, json);
    return 0;
}

int reset(hwv::Netlink &netlink, std::uint64_t vm) {
    std::vector<hwv::HeldRule> held = netlink.policy(vm);
    std::erase_if(held, [](const hwv::HeldRule &r) { return r.holder != 0; });
    netlink.reset_policy(vm);
    const bool ended = end_holder(vm);
    show(held, false);
    if (held.empty() && !ended)
        fmt::print("VM {} keeps no rules by hwvctl policy set\n", vm);
    else
        fmt::print("these rules are gone\n");
    return 0;
}

// Where nobody is there to be told: an exit that cannot have that answer goes on as without the
// rule, and the rules stay.
void reply_or_pass(hwv::Observer &observer, const hwv_stop_reply &reply) {
    try {
        reply_to_all(observer, reply);
    } catch (const hwv::Error &e) {
        if (e.code() != EINVAL) throw;
        reply_to_all(observer, {});
    }
}

class Setter {
  public:
    explicit Setter(const Words &words)
        : name_{words.words[2]}, policy_{read_policy(name_)}, on_stop_{words.text("on-stop")} {
        foreground_ = words.has("foreground");
        const bool can_ask = foreground_ && ::isatty(STDIN_FILENO) && name_ != "-";
        if (policy_.stops() && on_stop_.empty() && !can_ask)
            throw UsageError{"the policy has rules that stop: say --on-stop (pass, skip, 'answer "
                             "5', 'inject GP'), or --foreground on a terminal, to be asked"};
        if (!on_stop_.empty()) reply_ = parse_reply(on_stop_);
        if (!words.has("interval")) return;
        const double seconds = words.get<double>("interval");
        if (!(seconds >= 0.01 && seconds <= 86400))
            throw UsageError{"--interval: from 0.01 to 86400 seconds"};
        interval_ms_ = static_cast<int>(seconds * 1000);
    }

    int run(hwv::Netlink &netlink, std::uint64_t vm) {
        if (!foreground_ && !policy_.stops()) {
            keep_policy(netlink, vm, policy_, name_);
            end_holder(vm); // the new rules hold already
            return said(vm);
        }
        hwv::Observer observer = hwv::attach(vm);
        set_policy(observer, policy_, name_);
        netlink.reset_policy(vm);
        end_holder(vm);
        if (foreground_) return stay(observer);
        Holder holder{vm};
        if (!holder.first())
            throw hwv::Error{EBUSY, "another `hwvctl policy set` for this VM is under way"};
        said(vm);
        const hwv_stop_reply reply = reply_;
        holder.stay(observer, [reply](hwv::Observer &o) { reply_or_pass(o, reply); });
        return 0;
    }

  private:
    int said(std::uint64_t vm) const {
        fmt::print("{} rule(s) in force; hwvctl policy get {} shows the counts\n",
                   policy_.rules.size(), vm);
        std::fflush(stdout);
        return 0;
    }
    // Until Ctrl-C or the VM's end.
    int stay(hwv::Observer &observer) {
        using clock = std::chrono::steady_clock;
        end_at_signals();
        fmt::print("{} rule(s) in force until Ctrl-C\n", policy_.rules.size());
        std::fflush(stdout);
        auto shown = clock::now();
        while (!asked_to_end) {
            const hwv::Events events =
                observer.wait(interval_ms_ ? std::min(interval_ms_, 500) : 500);
            if (events.ended) break;
            if (events.stop && !serve_stops(observer)) break;
            if (!interval_ms_ || clock::now() - shown < std::chrono::milliseconds{interval_ms_})
                continue;
            shown = clock::now();
            fmt::print("{}\n", policy_table(observer.policy()));
            std::fflush(stdout);
        }
        fmt::print("{}", policy_table(observer.policy()));
        return 0;
    }
    bool serve_stops(hwv::Observer &observer) {
        if (on_stop_.empty()) return ask_about_stops(observer);
        reply_to_all(observer, reply_);
        return true;
    }

    std::string name_;
    PolicyText policy_;
    std::string on_stop_;
    hwv_stop_reply reply_{};
    bool foreground_ = false;
    int interval_ms_ = 0;
};

Options command_line() {
    Options options{usage, std::string{what} + policy_format + "\n" + vm_argument, examples};
    options.add()("json", "get: for programs")("foreground,f", "stay, show the counts at the end")(
        "interval,i", po::value<double>()->value_name("SECONDS"),
        "with --foreground: show the counts that often")(
        "on-stop", po::value<std::string>()->value_name("REPLY"),
        "what stopped vCPUs are told: pass, skip, 'answer VALUE', 'inject VECTOR'");
    return options;
}

} // namespace

int policy_command(const Arguments &arguments) {
    const std::optional<Words> words = command_line().parse(arguments, 2, 3);
    if (!words) return 0;
    const std::string &verb = words->words[0], &vm = words->words[1];
    const bool sets = verb == "set";
    if ((!sets && verb != "get" && verb != "reset") || sets != (words->words.size() == 3))
        throw UsageError{std::string{"usage: hwvctl "} + usage};
    std::optional<Setter> setter; // wrong usage is said before anything is asked
    if (sets) setter.emplace(*words);
    hwv::Netlink netlink;
    const std::vector<hwv_vm_entry> vms = netlink.vms();
    const std::uint64_t id = hwv::find_vm(vms, vm).id;
    if (setter) return setter->run(netlink, id);
    return verb == "get" ? get(netlink, id, words->has("json")) : reset(netlink, id);
}

} // namespace hwvctl
