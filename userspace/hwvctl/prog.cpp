// SPDX-License-Identifier: GPL-2.0-only
// prog.cpp - hwvctl prog: eBPF programs at a VM's exits. userspace/programs/ has examples.
#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include "hwv/error.hpp"
#include "hwv/programs.hpp"
#include "hwvctl/command.hpp"
#include "hwvctl/live.hpp"
#include "hwvctl/options.hpp"
#include "records/key_names.hpp"

namespace hwvctl {
namespace {

constexpr const char *help =
    R"(usage: hwvctl prog attach VM FILE.bpf.o [--on REASON,...] [--replace ID] [--for SECONDS]
       hwvctl prog list VM [--json]
       hwvctl prog detach VM ID

Runs an eBPF program at the exits of a VM, whoever started it: VM is its id, name or pid. The
program may watch, answer, skip, inject and stop: include/uapi/hwv_program.h says how it is
written, userspace/programs/ has examples. Loading one takes CAP_BPF and CAP_PERFMON.

attach    stays until ^C, the VM's end, or prog detach; with its end the program goes. Prints what
          comes through the program's ring buffer `lines`, and in the end the top of its map
          `counts`, u64 by u64. --on: the exits that it runs at, as `hwvctl run --stats` names them
          (default: all that are there without it); those of other reasons come to be. --replace: it
          takes the place of program ID while the guest runs, with that one's reasons unless --on
          says others, and goes on with its counts; each exit is seen by one of the two. Who
          attached the former program ends.
list      the programs of a VM, in the order in which they run, and what they did
detach    by the id that list tells

examples:
  hwvctl prog attach 1 /usr/share/hwv/programs/rips.bpf.o --for 10
  hwvctl prog attach debian disguise.bpf.o --on cpuid,rdtsc
  hwvctl prog attach debian disguise2.bpf.o --replace 3
  hwvctl prog list debian
)";

volatile std::sig_atomic_t interrupted = 0;

// The exits that a guest makes whether anybody wants them or not.
constexpr std::uint64_t made_anyway() {
    std::uint64_t mask = 0;
    for (unsigned reason = 1; reason < HWV_EXIT_CPU_REASONS; ++reason)
        mask |= 1ull << reason;
    for (unsigned reason :
         {HWV_EXIT_RDTSC, HWV_EXIT_RDTSCP, HWV_EXIT_INVLPG, HWV_EXIT_INVPCID, HWV_EXIT_PAUSE,
          HWV_EXIT_DESCRIPTOR, HWV_EXIT_EXCEPTION, HWV_EXIT_CR_READ, HWV_EXIT_CR_WRITE,
          HWV_EXIT_DR_ACCESS, HWV_EXIT_MSR_READ, HWV_EXIT_MSR_WRITE})
        mask &= ~(1ull << reason);
    return mask;
}

std::uint64_t reasons_of(const std::string &list) {
    std::uint64_t mask = 0;
    for (std::size_t at = 0; at <= list.size();) {
        const std::size_t end = std::min(list.find(',', at), list.size());
        const std::string name = list.substr(at, end - at);
        const auto reason = records::reason_of(name);
        if (!reason) throw UsageError{"there is no exit reason '" + name + "'"};
        mask |= 1ull << *reason;
        at = end + 1;
    }
    return mask;
}

std::uint64_t seconds_of(const std::string &text) {
    constexpr std::uint64_t year = 365 * 86400;
    const std::uint64_t out = parse_number(text, "number of seconds");
    if (!out || out > year) throw UsageError{"--for: from 1 second to a year"};
    return out;
}

struct AttachOptions {
    std::string vm, file;
    std::optional<std::uint64_t> reasons;
    std::uint64_t seconds = 0, replaced = 0;
};

AttachOptions parse(const Arguments &words) {
    AttachOptions o;
    std::vector<std::string> rest;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (!words[i].starts_with("--")) {
            rest.push_back(words[i]);
            continue;
        }
        if (i + 1 == words.size()) throw UsageError{words[i] + " wants a value"};
        const std::string &value = words[i + 1];
        if (words[i] == "--on")
            o.reasons = reasons_of(value);
        else if (words[i] == "--for")
            o.seconds = seconds_of(value);
        else if (words[i] == "--replace")
            o.replaced = parse_number(value, "program's id");
        else
            throw UsageError{"there is no option '" + words[i] + "'"};
        ++i;
    }
    if (rest.size() != 2) throw UsageError{"prog attach wants a VM and a file"};
    o.vm = rest[0];
    o.file = rest[1];
    return o;
}

// ---- the program's own file: libbpf's business ----

class Object {
  public:
    explicit Object(const std::string &file) {
        ::libbpf_set_print([](libbpf_print_level level, const char *format, va_list arguments) {
            return level == LIBBPF_WARN ? std::vfprintf(stderr, format, arguments) : 0;
        });
        object_.reset(::bpf_object__open_file(file.c_str(), nullptr));
        if (!object_) hwv::fail("open " + file);
        if (::bpf_object__load(object_.get())) hwv::fail("load " + file);
        program_ = ::bpf_object__next_program(object_.get(), nullptr);
        if (!program_) throw hwv::Error{0, file + " has no program"};
    }
    int program() const { return ::bpf_program__fd(program_); }
    // -1: there is none of that name and type.
    int map(const char *name, bpf_map_type type) const {
        const bpf_map *m = ::bpf_object__find_map_by_name(object_.get(), name);
        return m && ::bpf_map__type(m) == type ? ::bpf_map__fd(m) : -1;
    }
    // One of numbers by numbers: the kernel writes as much as the file says that a key is long.
    int counts(bpf_map_type type) const {
        const bpf_map *m = ::bpf_object__find_map_by_name(object_.get(), "counts");
        const bool words = m && ::bpf_map__key_size(m) == sizeof(std::uint64_t) &&
                           ::bpf_map__value_size(m) == sizeof(std::uint64_t);
        return words ? map("counts", type) : -1;
    }

  private:
    struct Close {
        void operator()(bpf_object *o) const { ::bpf_object__close(o); }
    };
    std::unique_ptr<bpf_object, Close> object_;
    bpf_program *program_ = nullptr;
};

int print_line(void *, void *data, std::size_t bytes) {
    const auto *words = static_cast<const std::uint64_t *>(data);
    for (std::size_t i = 0; i < bytes / sizeof *words; ++i)
        std::printf("%s0x%llx", i ? " " : "", static_cast<unsigned long long>(words[i]));
    std::putchar('\n');
    std::fflush(stdout);
    return 0;
}

void print_top(int map, std::size_t rows) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> all; // count, key
    std::uint64_t key = 0, next = 0, value = 0;
    for (int more = ::bpf_map_get_next_key(map, nullptr, &next); !more;
         more = ::bpf_map_get_next_key(map, &key, &next)) {
        key = next;
        if (!::bpf_map_lookup_elem(map, &key, &value)) all.emplace_back(value, key);
    }
    std::sort(all.rbegin(), all.rend());
    fmt::print("{:>12} {}\n", "count", "key");
    for (std::size_t i = 0; i < std::min(rows, all.size()); ++i)
        fmt::print("{:>12} 0x{:x}\n", all[i].first, all[i].second);
}

// False: it has been detached or another one has its place, and `entry` is what it was when last
// seen.
bool find(const hwv::Observer &observer, hwv_program_entry &entry) {
    for (const hwv_program_entry &p : hwv::programs(observer)) {
        if (p.id != entry.id || !(p.flags & HWV_PROGRAM_MINE)) continue;
        entry = p;
        return true;
    }
    return false;
}

// Until the time, the program or the VM has ended, or somebody says so.
void watch(const hwv::Observer &observer, hwv_program_entry &entry, const Object &object,
           std::uint64_t seconds) {
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::seconds{seconds};
    const int lines = object.map("lines", BPF_MAP_TYPE_RINGBUF);
    ring_buffer *ring =
        lines < 0 ? nullptr : ::ring_buffer__new(lines, print_line, nullptr, nullptr);
    while (!interrupted && (!seconds || Clock::now() < end) && find(observer, entry)) {
        if (observer.info().state & HWV_VM_STATE_ENDED) break;
        if (ring)
            ::ring_buffer__poll(ring, 200);
        else
            ::usleep(200'000);
    }
    if (!ring) return;
    ::ring_buffer__consume(ring);
    ::ring_buffer__free(ring);
}

nlohmann::json to_json(const hwv_program_entry &p) {
    nlohmann::json reasons = nlohmann::json::array();
    for (unsigned reason = 0; reason < HWV_EXIT_CPU_REASONS; ++reason)
        if (p.reasons >> reason & 1) reasons.push_back(hwv::exit_name(reason));
    return {{"id", p.id},
            {"name", p.name},
            {"bpf_id", p.bpf_id},
            {"reasons", reasons},
            {"runs", p.counts.runs},
            {"acted", p.counts.acted},
            {"refused", p.counts.refused},
            {"acked", p.counts.acked}};
}

void print_json(const std::vector<hwv_program_entry> &programs) {
    nlohmann::json all = nlohmann::json::array();
    for (const hwv_program_entry &p : programs)
        all.push_back(to_json(p));
    fmt::print("{}\n", json_text(all));
}

void print_programs(const std::vector<hwv_program_entry> &programs) {
    fmt::print("{:>4} {:<16} {:>8} {:>12} {:>12} {:>10} {}\n", "ID", "NAME", "BPF ID", "RUNS",
               "ACTED", "REFUSED", "REASONS");
    for (const hwv_program_entry &p : programs) {
        std::string reasons;
        for (unsigned reason = 0; reason < HWV_EXIT_CPU_REASONS; ++reason)
            if (p.reasons >> reason & 1)
                reasons += (reasons.empty() ? "" : ",") + std::string{hwv::exit_name(reason)};
        if (p.reasons == made_anyway()) reasons = "(all that are there)";
        fmt::print("{:>4} {:<16} {:>8} {:>12} {:>12} {:>10} {}\n", p.id, p.name, p.bpf_id,
                   p.counts.runs, p.counts.acted, p.counts.refused, reasons);
    }
}

// Those that were said, or of the program to be replaced, or what guests make anyway.
std::uint64_t reasons_for(const hwv::Observer &observer, const AttachOptions &options) {
    if (options.reasons) return *options.reasons;
    if (!options.replaced) return made_anyway();
    for (const hwv_program_entry &p : hwv::programs(observer))
        if (p.id == options.replaced) return p.reasons;
    throw hwv::Error{ENOENT, fmt::format("the VM has no program {} to replace: see `hwvctl prog "
                                         "list {}`",
                                         options.replaced, options.vm)};
}

int attach(const Arguments &words) {
    const AttachOptions options = parse(words);
    const hwv::Observer observer = hwv::attach(options.vm);
    const Object object{options.file};
    std::signal(SIGINT, [](int) { interrupted = 1; });
    std::signal(SIGTERM, [](int) { interrupted = 1; });
    hwv_program_entry entry{};
    entry.id = hwv::attach_program(observer, object.program(), reasons_for(observer, options),
                                   options.replaced);
    (void)find(observer, entry);
    std::fprintf(stderr, "program %llu is %s\n", static_cast<unsigned long long>(entry.id),
                 options.replaced ? "replaced" : "attached");
    watch(observer, entry, object, options.seconds);
    (void)find(observer, entry);
    print_programs({entry});
    for (bpf_map_type type : {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH})
        if (const int counts = object.counts(type); counts >= 0) print_top(counts, 20);
    return 0;
}

} // namespace

int prog_command(const Arguments &arguments) {
    const std::string what = arguments.empty() ? "" : arguments[0];
    const Arguments rest(arguments.begin() + !arguments.empty(), arguments.end());
    if (what == "--help" || what == "-h") {
        std::fputs(help, stdout);
        return 0;
    }
    if (what == "attach") return attach(rest);
    const bool json = rest.size() == 2 && rest[1] == "--json";
    if (what == "list" && (rest.size() == 1 || json)) {
        const std::vector<hwv_program_entry> programs = hwv::programs(hwv::attach(rest[0]));
        json ? print_json(programs) : print_programs(programs);
        return 0;
    }
    if (what == "detach" && rest.size() == 2) {
        hwv::detach_program(hwv::attach(rest[0]), parse_number(rest[1], "program's id"));
        return 0;
    }
    throw UsageError{"prog wants attach, list or detach, and a VM"};
}

} // namespace hwvctl
