// SPDX-License-Identifier: GPL-2.0-only
// run.cpp - hwvctl run.
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>
#include <unistd.h>
#include <nlohmann/json.hpp>
#include "hwv/error.hpp"
#include "hwvctl/control.hpp"
#include "hwvctl/exit_table.hpp"
#include "hwvctl/guest.hpp"
#include "hwvctl/policy_text.hpp"
#include "hwvctl/vnc.hpp"

namespace hwvctl {
namespace {

// SIGINT, SIGTERM and SIGHUP end the guest as a thread of their own receives them: every other
// thread blocks them.
class SignalThread {
  public:
    explicit SignalThread(Guest &guest) {
        sigemptyset(&set_);
        for (int s : {SIGINT, SIGTERM, SIGHUP, SIGUSR1})
            sigaddset(&set_, s);
        pthread_sigmask(SIG_BLOCK, &set_, nullptr);
        thread_ = std::thread{[this, &guest] {
            int signal = 0;
            sigwait(&set_, &signal);
            if (signal != SIGUSR1) guest.quit();
        }};
    }
    ~SignalThread() {
        pthread_kill(thread_.native_handle(), SIGUSR1);
        thread_.join();
    }
    SignalThread(const SignalThread &) = delete;
    SignalThread &operator=(const SignalThread &) = delete;

  private:
    sigset_t set_{};
    std::thread thread_;
};

// Rules of this process's own: they hold as long as it does.
class RunPolicy {
  public:
    explicit RunPolicy(const std::string &path) : path_{path}, policy_{read_policy(path)} {
        if (policy_.stops())
            throw UsageError{"--policy: '" + path +
                             "' has rules that stop, and nobody here replies: hwvctl policy set"};
    }
    void start() {
        observer_ = hwv::attach("pid:" + std::to_string(::getpid()));
        set_policy(observer_, policy_, path_);
    }
    std::string table() const { return policy_table(observer_.policy()); }

  private:
    std::string path_;
    PolicyText policy_;
    hwv::Observer observer_{hwv::Fd{}};
};

std::string exits_of(const Guest &guest, bool json) {
    const std::uint32_t khz = hwv::System{}.info().tsc_khz;
    const Summary summary = summarize(guest.stats());
    return json ? exit_json(summary, khz).dump(2) + "\n" : exit_table(summary, khz, 3);
}

// Without it the guest runs as well.
std::unique_ptr<ControlServer> listen(Guest &guest) {
    try {
        return std::make_unique<ControlServer>(
            own_vm(), Controlled{guest.machine(),
                                 [&guest](std::vector<std::uint32_t> which) {
                                     return guest.msrs(std::move(which));
                                 },
                                 guest.added().balloon});
    } catch (const hwv::Error &e) {
        std::fprintf(stderr, "hwvctl: %s: no screenshot, sendkey, powerbutton, balloon\n",
                     e.what());
        return nullptr;
    }
}

} // namespace

int run_command(const Arguments &arguments) {
    const std::optional<RunOptions> options = parse_run(arguments);
    if (!options) return 0;
    std::optional<RunPolicy> policy;
    if (!options->policy.empty()) policy.emplace(options->policy);
    Ending ending;
    std::string table;
    {
        Guest guest{*options};
        if (policy) policy->start();
        const SignalThread signals{guest};
        const auto control = listen(guest);
        std::optional<VncServer> vnc;
        if (options->vnc) vnc.emplace(*options->vnc, guest.machine());
        ending = guest.run();
        if (policy && !options->json) table = policy->table();
        if (options->stats) table += exits_of(guest, options->json);
    }
    std::fputs(table.c_str(), stdout);
    std::fflush(stdout);
    if (!ending.message.empty()) std::fprintf(stderr, "hwvctl: %s\n", ending.message.c_str());
    return ending.status;
}

} // namespace hwvctl
