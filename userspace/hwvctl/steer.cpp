// SPDX-License-Identifier: GPL-2.0-only
// steer.cpp - hwvctl pause, resume, kill.
#include <csignal>
#include <cstdio>
#include <fmt/format.h>
#include "hwv/error.hpp"
#include "hwvctl/holder.hpp"
#include "hwvctl/live.hpp"
#include "hwvctl/options.hpp"

namespace hwvctl {
namespace {

std::string called(const hwv_vm_entry &vm) {
    return fmt::format("VM {}{}{}", vm.id, *vm.name ? " " : "", hwv::shown_name(vm));
}

// SIGINT, SIGTERM and SIGHUP end the wait; the observer's end resumes.
volatile std::sig_atomic_t asked_to_end = 0;

void hold_here(const hwv::Observer &observer) {
    for (int s : {SIGINT, SIGTERM, SIGHUP})
        std::signal(s, [](int) { asked_to_end = 1; });
    while (!asked_to_end && !observer.wait(500).ended)
        ;
}

} // namespace

int pause_command(const Arguments &arguments) {
    Options options{
        "pause VM [--foreground]",
        std::string{"Stops all vCPUs, each at an exit, until `hwvctl resume VM`. A pause lasts as\n"
                    "long as the process that asked for it: a small one stays in the background "
                    "and holds it.\n"} +
            vm_argument,
        "\nexamples:\n  hwvctl pause web; hwvctl regs web; hwvctl resume web\n"
        "  hwvctl pause web --foreground     until Ctrl-C\n"};
    options.add()("foreground,f", "stay, and resume at Ctrl-C");
    const std::optional<Words> words = options.parse(arguments, 1, 1);
    if (!words) return 0;
    hwv::Observer observer = hwv::attach(words->words[0]);
    const hwv_vm_entry vm = observer.info();
    if (words->has("foreground")) {
        observer.pause();
        fmt::print("{} is paused until Ctrl-C\n", called(vm));
        std::fflush(stdout);
        hold_here(observer);
        return 0;
    }
    Holder holder{Held::pause, vm.id};
    if (!holder.first()) {
        if (!ask_holder(Held::pause, vm.id, ask_text)) // anybody can take the name
            throw hwv::Error{EADDRINUSE, called(vm) + " is not paused: another user's process has "
                                                      "the name of the one that would hold it; "
                                                      "--foreground does without"};
        fmt::print("{} is paused already\n", called(vm));
        return 0;
    }
    observer.pause();
    fmt::print("{} is paused; to go on: hwvctl resume {}\n", called(vm), vm.id);
    std::fflush(stdout);
    holder.stay(observer);
    return 0;
}

int resume_command(const Arguments &arguments) {
    const Options options{
        "resume VM",
        std::string{"Lets a VM go on that `hwvctl pause` stopped. What another observer has paused "
                    "stays so\nuntil that one resumes it or ends.\n"} +
            vm_argument,
        "\nexample:\n  hwvctl resume web\n"};
    const std::optional<Words> words = options.parse(arguments, 1, 1);
    if (!words) return 0;
    const hwv::Observer observer = hwv::attach(words->words[0]);
    const std::uint64_t id = observer.info().id;
    const bool released = ask_holder(Held::pause, id, ask_end).has_value();
    const hwv_vm_entry vm = observer.info();
    if (vm.state & HWV_VM_STATE_PAUSED)
        throw hwv::Error{EBUSY, called(vm) + " stays paused: another observer has it so (of " +
                                    std::to_string(vm.observers - 1) +
                                    "), which has to resume it or to end"};
    fmt::print("{} {}\n", called(vm), released ? "goes on" : "was not paused");
    return 0;
}

int kill_command(const Arguments &arguments) {
    const Options options{
        "kill VM",
        std::string{"Ends a VM for good, whatever it does: its launcher's next entry is refused, "
                    "and\n`hwvctl run` says so and ends with status 7.\n"} +
            vm_argument,
        "\nexample:\n  hwvctl kill web\n"};
    const std::optional<Words> words = options.parse(arguments, 1, 1);
    if (!words) return 0;
    hwv::Observer observer = hwv::attach(words->words[0]);
    observer.kill();
    fmt::print("{} is killed\n", called(observer.info()));
    return 0;
}

} // namespace hwvctl
