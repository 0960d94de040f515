// SPDX-License-Identifier: GPL-2.0-only
// launch.cpp - what a launcher costs, all of its children and threads included. The output of
// COMMAND goes to stderr; the exit status is COMMAND's.
//   launch time COMMAND...           from its start to its end: TSC ticks, which in the counting
//   bed
//                                    are instructions, and what would have been while the CPU waits
//   launch first EVENT COMMAND...    the same without waiting, and from its start to the first
//   EVENT,
//                                    kvm:kvm_entry or hwv:hwv_entry, which is to say to the guest's
//                                    first instruction
//   launch exits COMMAND...          VM exits of KVM, by the tracepoint kvm:kvm_exit
// prints a line "launch WHAT N" for each.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <string>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

namespace {

const std::string tracing = "/sys/kernel/tracing/";

[[noreturn]] void fail(const char *what) {
    std::perror(what);
    std::exit(125);
}

// Counts for this process and for all that it starts from now on.
int open_counter() {
    std::FILE *id = std::fopen((tracing + "events/kvm/kvm_exit/id").c_str(), "r");
    perf_event_attr attr{};
    attr.type = PERF_TYPE_TRACEPOINT;
    attr.size = sizeof attr;
    unsigned long long number = 0;
    if (!id || std::fscanf(id, "%llu", &number) != 1) fail("launch: tracepoint kvm:kvm_exit");
    std::fclose(id);
    attr.config = number;
    attr.inherit = 1;
    const long fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) fail("launch: perf_event_open");
    return static_cast<int>(fd);
}

void say(const std::string &file, const char *text) {
    const int fd = open((tracing + file).c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0 || write(fd, text, std::strlen(text)) < 0) fail(("launch: " + file).c_str());
    close(fd);
}

// Events are recorded with the TSC; when there is no more room, no more are. This wants one CPU.
void record(std::string event) {
    event[event.find(':')] = '/';
    say("trace_clock", "x86-tsc");
    say("options/overwrite", "0");
    say("events/sched/sched_switch/filter", "prev_pid == 0 || next_pid == 0");
    say("events/sched/sched_switch/enable", "1");
    say("events/" + event + "/enable", "1");
}

struct Recorded {
    std::uint64_t first = 0, idle_before = 0, idle = 0;
};

// Lines like "  hwvctl-137   [000] d..1. 31524256: hwv_entry: ..."
Recorded recorded(const std::string &event) {
    std::FILE *file = std::fopen((tracing + "trace").c_str(), "r");
    if (!file) fail("launch: trace");
    const std::string name = event.substr(event.find(':') + 1) + ":";
    Recorded out;
    std::uint64_t idle_since = 0;
    char line[1024];
    while (std::fgets(line, sizeof line, file)) {
        char *end = std::strstr(line, ": ");
        if (!end || *line == '#') continue;
        *end = 0;
        const std::uint64_t when = std::strtoull(std::strrchr(line, ' '), nullptr, 10);
        const char *what = end + 2;
        if (std::strncmp(what, name.c_str(), name.size()) == 0) {
            if (!out.first) out = {when, out.idle, out.idle};
        } else if (std::strstr(what, "next_pid=0 ")) {
            idle_since = when;
        } else if (idle_since) {
            out.idle += when - idle_since;
            idle_since = 0;
        }
    }
    std::fclose(file);
    if (!out.first) fail("launch: no such event happened");
    return out;
}

// Inherited counts reach the counter when the child has gone.
int run(char **command) {
    const pid_t child = fork();
    if (child < 0) fail("launch: fork");
    if (child == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execvp(command[0], command);
        std::perror(command[0]);
        _exit(127);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child) fail("launch: waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void print(const char *what, std::uint64_t value) {
    std::printf("launch %s %" PRIu64 "\n", what, value);
}

} // namespace

int main(int argc, char **argv) {
    const std::string what = argc > 2 ? argv[1] : "";
    const bool exits = what == "exits", first = what == "first";
    if (argc < (first ? 4 : 3) || (!exits && !first && what != "time")) {
        std::fputs("usage: launch time|exits|first EVENT COMMAND...\n", stderr);
        return 2;
    }
    const int counter = exits ? open_counter() : -1;
    if (first) record(argv[2]);
    const std::uint64_t before = __rdtsc();
    const int status = run(argv + (first ? 3 : 2));
    std::uint64_t value = __rdtsc() - before;
    if (first) {
        say("tracing_on", "0");
        const Recorded seen = recorded(argv[2]);
        print("first", seen.first - before - seen.idle_before);
        value -= seen.idle;
    }
    if (exits && read(counter, &value, sizeof value) != sizeof value)
        fail("launch: read the counter");
    print(exits ? "exits" : "time", value);
    return status;
}
