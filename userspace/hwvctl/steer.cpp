// SPDX-License-Identifier: GPL-2.0-only
// steer.cpp - hwvctl pause, resume, kick, kill.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fmt/format.h>
#include "hwv/error.hpp"
#include "hwv/netlink.hpp"
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

void add_vcpu(Options &options) {
    options.add()("vcpu", boost::program_options::value<std::uint32_t>()->value_name("N"),
                  "only that one");
}

std::optional<std::uint32_t> vcpu_of(const Words &words) {
    if (!words.has("vcpu")) return std::nullopt;
    return words.get<std::uint32_t>("vcpu");
}

hwv_vm_entry find(hwv::Netlink &netlink, const std::string &name) {
    const std::vector<hwv_vm_entry> vms = netlink.vms();
    return hwv::find_vm(vms, name);
}

// It, or one of its vCPUs.
bool stands(hwv::Netlink &netlink, const hwv_vm_entry &vm) {
    const std::vector<hwv::VcpuEntry> vcpus = netlink.vcpus(vm.id);
    return (vm.state & HWV_VM_STATE_PAUSED) ||
           std::any_of(vcpus.begin(), vcpus.end(), [](const hwv::VcpuEntry &vcpu) {
               return vcpu.state == HWV_VCPU_STATE_STOPPED;
           });
}

} // namespace

int pause_command(const Arguments &arguments) {
    Options options{
        "pause VM [--vcpu N | --foreground]",
        std::string{
            "Stops all vCPUs, each at an exit, until `hwvctl resume VM` by anybody who "
            "may, or the\n"
            "VM's end. With --vcpu that one alone stands, and the others go on. With --foreground\n"
            "it is for as long as this process lives.\n"} +
            vm_argument,
        "\nexamples:\n  hwvctl pause web; hwvctl regs web; hwvctl resume web\n"
        "  hwvctl pause web --vcpu 1; hwvctl regs web --vcpu 1; hwvctl resume web\n"
        "  hwvctl pause web --foreground     until Ctrl-C\n"};
    options.add()("foreground,f", "stay, and resume at Ctrl-C");
    add_vcpu(options);
    const std::optional<Words> words = options.parse(arguments, 1, 1);
    if (!words) return 0;
    if (words->has("foreground") && words->has("vcpu"))
        throw UsageError{"--foreground is for a whole VM"};
    if (words->has("foreground")) {
        hwv::Observer observer = hwv::attach(words->words[0]);
        observer.pause();
        fmt::print("{} is paused until Ctrl-C\n", called(observer.info()));
        std::fflush(stdout);
        hold_here(observer);
        return 0;
    }
    hwv::Netlink netlink;
    const hwv_vm_entry vm = find(netlink, words->words[0]);
    netlink.pause(vm.id, vcpu_of(*words));
    if (words->has("vcpu"))
        fmt::print("vCPU {} of {} stands; to go on: hwvctl resume {}\n", *vcpu_of(*words),
                   called(vm), vm.id);
    else if (vm.state & HWV_VM_STATE_PAUSED)
        fmt::print("{} is paused already\n", called(vm));
    else
        fmt::print("{} is paused; to go on: hwvctl resume {}\n", called(vm), vm.id);
    return 0;
}

int resume_command(const Arguments &arguments) {
    Options options{"resume VM [--vcpu N]",
                    std::string{"Lets a VM go on that `hwvctl pause` stopped, and each of its "
                                "vCPUs. What another observer has paused "
                                "stays so\nuntil that one resumes it or ends.\n"} +
                        vm_argument,
                    "\nexample:\n  hwvctl resume web\n"};
    add_vcpu(options);
    const std::optional<Words> words = options.parse(arguments, 1, 1);
    if (!words) return 0;
    hwv::Netlink netlink;
    const hwv_vm_entry vm = find(netlink, words->words[0]);
    const bool stood = stands(netlink, vm);
    try {
        netlink.resume(vm.id, vcpu_of(*words));
    } catch (const hwv::Error &e) {
        if (e.code() != EBUSY) throw;
        if (words->has("vcpu"))
            throw hwv::Error{EBUSY, called(vm) + " is paused as a whole: hwvctl resume " +
                                        std::to_string(vm.id)};
        throw hwv::Error{EBUSY, called(vm) + " stays paused: another observer has it so (of " +
                                    std::to_string(vm.observers) +
                                    "), which has to resume it or to end"};
    }
    if (words->has("vcpu"))
        fmt::print("vCPU {} of {} goes on\n", *vcpu_of(*words), called(vm));
    else
        fmt::print("{} {}\n", called(vm), stood ? "goes on" : "was not paused");
    return 0;
}

int kick_command(const Arguments &arguments) {
    Options options{
        "kick VM [--vcpu N]",
        std::string{
            "Has the launcher look up: HWV_RUN of each vCPU, under way or to come, leaves once\n"
            "with the exit `kicked`. `hwvctl run` goes on.\n"} +
            vm_argument,
        "\nexample:\n  hwvctl kick web --vcpu 0\n"};
    add_vcpu(options);
    const std::optional<Words> words = options.parse(arguments, 1, 1);
    if (!words) return 0;
    hwv::Netlink netlink;
    const hwv_vm_entry vm = find(netlink, words->words[0]);
    netlink.kick(vm.id, vcpu_of(*words));
    fmt::print("{} is kicked\n", called(vm));
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
