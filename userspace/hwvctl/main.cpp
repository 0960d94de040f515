// SPDX-License-Identifier: GPL-2.0-only
// hwvctl - launches guests under hwv and looks after them.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include "hwvctl/command.hpp"

namespace {

using namespace hwvctl;

struct Command {
    const char *name;
    int (*run)(const Arguments &);
    const char *summary;
};

constexpr Command commands[] = {
    {"run", run_command, "launch a guest: a kernel image, its initrd, a serial console"},
    {"doctor", doctor_command,
     "say, line by line, whether this machine can run hwv, and what to do if not"},
    {"ls", ls_command, "list the VMs that run: id, name, owner, state"},
    {"events", events_command,
     "tell live what happens to VMs: created, started, paused, ended ..."},
    {"stat", stat_command, "a VM's exits: how many, how long, about what, where its time went"},
    {"top", top_command, "a live view of all VMs, and of one VM's exits"},
    {"pause", pause_command, "stop a VM's vCPUs until it is resumed"},
    {"resume", resume_command, "let a paused VM go on"},
    {"kick", kick_command, "have a VM's launcher look up"},
    {"kill", kill_command, "end a VM for good"},
    {"screenshot", screenshot_command, "what a guest's screen shows, as a picture or as text"},
    {"sendkey", sendkey_command, "type on a guest's keyboard"},
    {"powerbutton", powerbutton_command, "press a guest's ACPI power button"},
    {"balloon", balloon_command, "take memory of a guest's and give it back"},
    {"regs", regs_command, "show or set the registers of a vCPU"},
    {"mem", mem_command, "show, save or write guest memory, physical or virtual"},
    {"policy", policy_command, "rules for exits: count, answer, skip, inject, stop"},
    {"prog", prog_command, "run eBPF programs at the exits of a VM"},
    {"trace", trace_command, "show a running VM's exits as they happen: text, Perfetto, CSV, JSON"},
    {"record", record_command, "write a running VM's exits into a file"},
    {"report", report_command,
     "say what a recording holds: tables, a page with pictures, a trace, stacks"},
    {"diff", diff_command, "compare two recordings or statistics; --fail-if for CI"},
    {"advise", advise_command, "say which exits cost most, why, and which setting spares them"},
};

void print_help(std::FILE *out) {
    std::fputs("hwvctl - launch guests under the hwv hypervisor and watch their exits\n\n"
               "usage: hwvctl COMMAND [OPTIONS]\n\ncommands:\n",
               out);
    for (const Command &c : commands)
        std::fprintf(out, "  %-11s %s\n", c.name, c.summary);
    std::fputs("\nhwvctl COMMAND --help explains a command and shows examples. A first guest:\n"
               "  hwvctl run --kernel /boot/vmlinuz --initrd initrd.cpio --append 'console=ttyS0' "
               "--stats\n",
               out);
}

// Output that did not arrive is no success.
int all_written(int code) {
    if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return code;
    std::fputs("hwvctl: standard output did not take all that was written\n", stderr);
    return code ? code : status::host_error;
}

const Command *find(const std::string &name) {
    for (const Command &c : commands)
        if (name == c.name) return &c;
    return nullptr;
}

// For threads of devices and displays: the process goes, and the VM with it.
[[noreturn]] void end_with_a_word() {
    try {
        if (const auto error = std::current_exception()) std::rethrow_exception(error);
    } catch (const std::exception &e) {
        std::fprintf(stderr, "hwvctl: a thread cannot go on, everything ends: %s\n", e.what());
    } catch (...) {}
    std::_Exit(status::host_error);
}

} // namespace

int main(int argc, char **argv) {
    std::set_terminate(end_with_a_word);
    if (argc < 2) {
        print_help(stderr);
        return status::usage;
    }
    const std::string name = argv[1];
    if (name == "--help" || name == "-h" || name == "help") {
        print_help(stdout);
        return all_written(0);
    }
    const Command *command = find(name);
    if (!command) {
        std::fprintf(stderr, "hwvctl: there is no command '%s' (see hwvctl --help)\n",
                     name.c_str());
        return status::usage;
    }
    try {
        return all_written(command->run(Arguments(argv + 2, argv + argc)));
    } catch (const UsageError &e) {
        std::fprintf(stderr, "hwvctl: %s (see hwvctl %s --help)\n", e.message.c_str(),
                     name.c_str());
        return status::usage;
    } catch (const std::exception &e) {
        std::fprintf(stderr, "hwvctl: %s\n", e.what());
        return status::host_error;
    }
}
