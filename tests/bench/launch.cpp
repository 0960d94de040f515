// SPDX-License-Identifier: GPL-2.0-only
// launch.cpp - what a launcher costs from its start to its end, all of its children and threads
// included. launch time COMMAND...   runs COMMAND and prints "launch time N": TSC ticks,
// instructions in the counting bed launch exits COMMAND...  prints "launch exits N": VM exits of
// KVM, by the tracepoint kvm:kvm_exit COMMAND's output goes to stderr; the exit status is
// COMMAND's.
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

namespace {

[[noreturn]] void fail(const char *what) {
    std::perror(what);
    std::exit(125);
}

// Counts for this process and for all that it starts from now on.
int open_counter() {
    std::FILE *id = std::fopen("/sys/kernel/tracing/events/kvm/kvm_exit/id", "r");
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

} // namespace

int main(int argc, char **argv) {
    const bool exits = argc > 2 && std::strcmp(argv[1], "exits") == 0;
    if (argc < 3 || (!exits && std::strcmp(argv[1], "time") != 0)) {
        std::fputs("usage: launch time|exits COMMAND...\n", stderr);
        return 2;
    }
    const int counter = exits ? open_counter() : -1;
    const std::uint64_t before = __rdtsc();
    const int status = run(argv + 2);
    std::uint64_t value = __rdtsc() - before;
    if (exits && read(counter, &value, sizeof value) != sizeof value)
        fail("launch: read the counter");
    std::printf("launch %s %" PRIu64 "\n", argv[1], value);
    return status;
}
