// SPDX-License-Identifier: GPL-2.0-only
// run.cpp - hwvctl run.
#include <csignal>
#include <cstdio>
#include <thread>
#include <nlohmann/json.hpp>
#include "hwvctl/exit_table.hpp"
#include "hwvctl/guest.hpp"

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

} // namespace

int run_command(const Arguments &arguments) {
    const std::optional<RunOptions> options = parse_run(arguments);
    if (!options) return 0;
    Ending ending;
    std::string table;
    {
        Guest guest{*options};
        const SignalThread signals{guest};
        ending = guest.run();
        if (options->stats) {
            const std::uint32_t khz = hwv::System{}.info().tsc_khz;
            const hwv::Stats stats = guest.stats();
            const Summary summary = summarize({&stats, 1});
            table = options->json ? exit_json(summary, khz).dump(2) + "\n"
                                  : exit_table(summary, khz, 3);
        }
    }
    std::fputs(table.c_str(), stdout);
    std::fflush(stdout);
    if (!ending.message.empty()) std::fprintf(stderr, "hwvctl: %s\n", ending.message.c_str());
    return ending.status;
}

} // namespace hwvctl
