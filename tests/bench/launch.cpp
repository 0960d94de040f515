// SPDX-License-Identifier: GPL-2.0-only
// launch.cpp - what a launcher costs, all of its children and threads included, in TSC ticks, which
// in the counting bed are instructions. The output of COMMAND goes to stderr; the exit status is
// COMMAND's.
//
// launch time COMMAND...: from its start to its end; what the CPU waits counts as well.
//
// launch first EVENT COMMAND...: the same without waiting; and from its start to the first EVENT,
// kvm:kvm_entry or hwv:hwv_entry, which is to say to the guest's first instruction.
//
// launch exits EVENT COMMAND...: how often EVENT happens, kvm:kvm_exit or hwv:hwv_exit.
//
// Each of these prints lines "launch WHAT N".
//
// launch marks COMMAND...: without waiting, from the start to each line "MARK NAME COUNT" of the
// guest's; with EVENT in the environment, how often that has happened by then. Prints
// "mark NAME COUNT N" for each. Port 9, of UDP and TCP, takes what the guest sends; TCP port 19
// gives a MiB for each byte that it gets.
//
// launch prompt TEXT COMMAND...: the same without ports. When the guest has said TEXT, with nothing
// behind it yet, that is the mark "prompt 1", COMMAND is ended, and the exit status is 0.
#include <algorithm>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>
#include <x86intrin.h>

namespace {

const std::string tracing = "/sys/kernel/tracing/";

[[noreturn]] void fail(const char *what) {
    std::perror(what);
    std::exit(125);
}

std::string folder(std::string event) {
    if (const auto colon = event.find(':'); colon != std::string::npos) event[colon] = '/';
    return "events/" + event + "/";
}

// Counts for this process and for all that it starts from now on.
int open_counter(const std::string &event) {
    std::FILE *id = std::fopen((tracing + folder(event) + "id").c_str(), "r");
    perf_event_attr attr{};
    attr.type = PERF_TYPE_TRACEPOINT;
    attr.size = sizeof attr;
    unsigned long long number = 0;
    if (!id || std::fscanf(id, "%llu", &number) != 1) fail(("launch: " + event).c_str());
    std::fclose(id);
    attr.config = number;
    attr.inherit = 1;
    const long fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) fail("launch: perf_event_open");
    return static_cast<int>(fd);
}

std::uint64_t count_of(int counter) {
    std::uint64_t value = 0;
    if (read(counter, &value, sizeof value) != sizeof value) fail("launch: read the counter");
    return value;
}

void say(const std::string &file, const char *text) {
    const int fd = open((tracing + file).c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0 || write(fd, text, std::strlen(text)) < 0) fail(("launch: " + file).c_str());
    close(fd);
}

// When the CPU waits is recorded with the TSC. This wants one CPU, and room for it all: none of it
// is written over, and complete() tells whether there was enough.
void record() {
    say("trace_clock", "x86-tsc");
    say("options/overwrite", "0");
    say("buffer_size_kb", "8192");
    say("events/sched/sched_switch/filter", "prev_pid == 0 || next_pid == 0");
    say("events/sched/sched_switch/enable", "1");
}

// A wait that is missing would count as work.
void complete() {
    std::FILE *file = std::fopen((tracing + "per_cpu/cpu0/stats").c_str(), "r");
    if (!file) fail("launch: per_cpu/cpu0/stats");
    char line[128];
    int told = 0;
    while (std::fgets(line, sizeof line, file)) {
        unsigned long long lost = 0;
        if (std::sscanf(line, "overrun: %llu", &lost) != 1 &&
            std::sscanf(line, "dropped events: %llu", &lost) != 1)
            continue;
        told++;
        if (!lost) continue;
        std::fprintf(stderr, "launch: no room for %llu records of when the CPU waited\n", lost);
        std::exit(125);
    }
    std::fclose(file);
    if (told != 2) fail("launch: what was lost");
}

struct Recorded {
    struct Wait {
        std::uint64_t from, to;
    };
    std::vector<Wait> waits;
    std::uint64_t first = 0; // when `event` first was

    std::uint64_t waited_until(std::uint64_t when) const {
        std::uint64_t sum = 0;
        for (const Wait &wait : waits)
            if (wait.to <= when) sum += wait.to - wait.from;
        return sum;
    }
};

// Lines like "  hwvctl-137   [000] d..1. 31524256: hwv_entry: ..."
Recorded recorded(const std::string &event) {
    say("tracing_on", "0");
    complete();
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
            if (!out.first) out.first = when;
        } else if (std::strstr(what, "next_pid=0 ")) {
            idle_since = when;
        } else if (idle_since) {
            out.waits.push_back({idle_since, when});
            idle_since = 0;
        }
    }
    std::fclose(file);
    return out;
}

pid_t start(char **command, int out) {
    const pid_t child = fork();
    if (child < 0) fail("launch: fork");
    if (child != 0) return child;
    dup2(out, STDOUT_FILENO);
    execvp(command[0], command);
    std::perror(command[0]);
    _exit(127);
}

// Inherited counts reach the counter when the child has gone.
int end_of(pid_t child) {
    int status = 0;
    if (waitpid(child, &status, 0) != child) fail("launch: waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run(char **command) { return end_of(start(command, STDERR_FILENO)); }

void print(const char *what, std::uint64_t value) {
    std::printf("launch %s %" PRIu64 "\n", what, value);
}

int open_port(int kind, std::uint16_t port) {
    const int fd = socket(AF_INET, kind | SOCK_CLOEXEC, 0), yes = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0 ||
        (kind == SOCK_STREAM && listen(fd, 1) != 0))
        fail("launch: port");
    return fd;
}

void take_all(int connection) {
    static char some[1 << 16];
    while (read(connection, some, sizeof some) > 0) {}
}

void give_for_each_byte(int connection) {
    static const char some[1 << 16] = {};
    for (char asked; read(connection, &asked, 1) == 1;)
        for (std::size_t left = 1 << 20; left;) {
            const ssize_t sent = send(connection, some, std::min(left, sizeof some), MSG_NOSIGNAL);
            if (sent <= 0) return;
            left -= sent;
        }
}

void serve(std::uint16_t port, void (*how)(int)) {
    const int listener = open_port(SOCK_STREAM, port);
    std::thread{[=] {
        for (int connection; (connection = accept(listener, nullptr, nullptr)) >= 0;) {
            how(connection);
            close(connection);
        }
    }}.detach();
}

// What the guest says, read as soon as it is said.
class Follower {
  public:
    Follower() : event{std::getenv("EVENT")}, counter{event ? open_counter(event) : -1} {}

    // With `prompt` the launcher is ended when the guest has said that.
    int follow(char **command, const char *prompt) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) fail("launch: pipe");
        if (!event) record();
        before = __rdtsc();
        const pid_t child = start(command, ends[1]);
        close(ends[1]);
        char some[4096];
        bool prompted = false;
        for (ssize_t size; (size = read(ends[0], some, sizeof some)) > 0;) {
            const std::uint64_t now = __rdtsc();
            take(std::string(some, size), now);
            if (!prompt || prompted || !line.ends_with(prompt)) continue;
            prompted = true;
            mark("prompt 1", now);
            kill(child, SIGTERM);
        }
        const int status = end_of(child);
        print_marks();
        return prompted ? 0 : status;
    }

  private:
    struct Mark {
        std::string what;
        std::uint64_t when, count;
    };

    void mark(const std::string &what, std::uint64_t now) {
        marks.push_back({what, now, event ? count_of(counter) : 0});
    }

    void take(const std::string &said, std::uint64_t now) {
        for (const char c : said) {
            line += c;
            if (c != '\n') continue;
            char name[32];
            unsigned count = 0;
            if (std::sscanf(line.c_str(), "MARK %31s %u", name, &count) == 2)
                mark(name + (" " + std::to_string(count)), now);
            else
                std::fputs(line.c_str(), stderr);
            line.clear();
        }
    }

    void print_marks() const {
        const Recorded seen = event ? Recorded{} : recorded("none");
        for (const Mark &mark : marks)
            std::printf("mark %s %" PRIu64 "\n", mark.what.c_str(),
                        event ? mark.count : mark.when - before - seen.waited_until(mark.when));
    }

    const char *event;
    int counter;
    std::uint64_t before = 0;
    std::string line;
    std::vector<Mark> marks;
};

int follow_marks(char **command) {
    open_port(SOCK_DGRAM, 9); // whoever sends there is told of no error, and nobody reads it
    serve(9, take_all);
    serve(19, give_for_each_byte);
    return Follower{}.follow(command, nullptr);
}

int find_first(const std::string &event, char **command) {
    record();
    say(folder(event) + "enable", "1");
    const std::uint64_t before = __rdtsc();
    const int status = run(command);
    const std::uint64_t end = __rdtsc();
    const Recorded seen = recorded(event);
    if (!seen.first) fail("launch: no such event happened");
    print("first", seen.first - before - seen.waited_until(seen.first));
    print("time", end - before - seen.waited_until(end));
    return status;
}

int count_exits(const std::string &event, char **command) {
    const int counter = open_counter(event);
    const int status = run(command);
    print("exits", count_of(counter));
    return status;
}

int take_time(char **command) {
    const std::uint64_t before = __rdtsc();
    const int status = run(command);
    print("time", __rdtsc() - before);
    return status;
}

} // namespace

int main(int argc, char **argv) {
    const std::string what = argc > 2 ? argv[1] : "";
    if (what == "time") return take_time(argv + 2);
    if (what == "marks") return follow_marks(argv + 2);
    if (what == "prompt" && argc > 3) return Follower{}.follow(argv + 3, argv[2]);
    if (what == "first" && argc > 3) return find_first(argv[2], argv + 3);
    if (what == "exits" && argc > 3) return count_exits(argv[2], argv + 3);
    std::fputs("usage: launch time|marks|prompt TEXT|first EVENT|exits EVENT COMMAND...\n", stderr);
    return 2;
}
