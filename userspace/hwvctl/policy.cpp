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
get: those rules, how often each matched and acted. reset: they go.

Rules last as long as the process that gave them: a small one stays in the background for it, until reset or the VM's
end; with --foreground it is this one, until Ctrl-C. `hwvctl run --policy FILE` has them from the first instruction on.
A rule that stops needs somebody who replies: --on-stop, or with --foreground you, on the terminal.

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

std::string counts_as(hwv::Observer &observer, char form) {
    const std::vector<hwv::Rule> rules = observer.policy();
    return form == ask_json ? json_text(policy_json(rules)) + "\n" : policy_table(rules);
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

    int run(hwv::Observer observer) {
        const std::uint64_t vm = observer.info().id;
        set_policy(observer, policy_, name_);
        ask_holder(Held::policy, vm, ask_end); // the new rules hold already
        if (foreground_) return stay(observer);
        Holder holder{Held::policy, vm};
        if (!holder.first())
            throw hwv::Error{EBUSY, "another `hwvctl policy set` for this VM is under way"};
        fmt::print("{} rule(s) in force; hwvctl policy get {} shows the counts\n",
                   policy_.rules.size(), vm);
        std::fflush(stdout);
        const hwv_stop_reply reply = reply_;
        holder.stay(observer, {counts_as, [reply](hwv::Observer &o) { reply_or_pass(o, reply); }});
        return 0;
    }

  private:
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
    if (sets) {
        Setter setter{*words};
        return setter.run(hwv::attach(vm));
    }
    const std::vector<hwv_vm_entry> vms = hwv::list_vms();
    const std::uint64_t id = hwv::find_vm(vms, vm).id;
    const char wanted = verb != "get" ? ask_end : words->has("json") ? ask_json : ask_text;
    const auto text = ask_holder(Held::policy, id, wanted);
    if (!text && wanted == ask_json)
        fmt::print("[]\n");
    else if (!text)
        fmt::print("VM {} has no policy of yours by hwvctl policy set\n", id);
    else
        fmt::print("{}{}", *text, verb == "get" ? "" : "these rules are gone\n");
    return 0;
}

} // namespace hwvctl
