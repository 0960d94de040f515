// SPDX-License-Identifier: GPL-2.0-only
// timeout: 120
// bed: --smp 2
// Exit programs at the bpf() and ioctl() boundary: each exit is one run, what a program says the
// guest sees, what it cannot say is refused and harms nobody, and nothing is missed while one takes
// another's place.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <sys/wait.h>
#include <thread>
#include "module/exit_program.hpp"
#include "module/report.hpp"
#include "module/watched.hpp"

namespace {

using namespace std::string_literals;

constexpr std::uint32_t count = 200;
constexpr std::uint64_t cpuid_exits = 1ull << HWV_EXIT_CPUID, io_exits = 1ull << HWV_EXIT_IO,
                        rdtsc_exits = 1ull << HWV_EXIT_RDTSC;
using namespace exit_program;

//        mov esi, count
// next:  xor eax, eax
//        (body)
//        dec esi
//        jnz next
//        out 0x21, eax
//        jmp start
std::string loop(const std::string &body) {
    std::string code = "\x66\xbe____\x66\x31\xc0"s;
    std::memcpy(code.data() + 2, &count, sizeof count);
    code += body + "\x66\x4e\x75"s;
    code += static_cast<char>(6 - static_cast<int>(code.size() + 1));
    code += "\x66\xe7\x21\xe9"s;
    const auto back = static_cast<std::int16_t>(-static_cast<int>(code.size() + 2));
    return code + std::string{reinterpret_cast<const char *>(&back), 2};
}
const std::string cpuid = loop("\x0f\xa2"s), rdtsc = loop("\x0f\x31"s);

// A map of one counter, and a program that counts in it.
struct Counter {
    Counter() {
        bpf_attr attr{};
        attr.map_type = BPF_MAP_TYPE_ARRAY;
        attr.key_size = 4;
        attr.value_size = 8;
        attr.max_entries = 1;
        map = static_cast<int>(bpf(BPF_MAP_CREATE, attr));
    }
    ~Counter() { ::close(map); }
    int program() const {
        return load({insn(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, 0),
                     insn(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0),
                     insn(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4),
                     insn(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map),
                     insn(0, 0, 0, 0, 0),
                     insn(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem),
                     insn(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2, 0),
                     insn(BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, 1),
                     insn(BPF_STX | BPF_ATOMIC | BPF_DW, 0, 1, 0, BPF_ADD)});
    }
    long value() const {
        std::uint32_t key = 0;
        std::uint64_t value = 0;
        bpf_attr attr{};
        attr.map_fd = static_cast<__u32>(map);
        attr.key = reinterpret_cast<std::uint64_t>(&key);
        attr.value = reinterpret_cast<std::uint64_t>(&value);
        return bpf(BPF_MAP_LOOKUP_ELEM, attr) == 0 ? static_cast<long>(value) : -1;
    }
    int map;
};

// ---- an observer with programs ----

struct Programmer : Observer {
    using Observer::Observer;
    // Takes the program's fd.
    long attach(int program, std::uint64_t reasons, std::uint64_t replaced = 0) {
        request = {.fd = program,
                   .flags = replaced ? HWV_PROGRAM_REPLACE : 0,
                   .reasons = reasons,
                   .id = replaced};
        const long result = raw::call(fd, HWV_PROGRAM_ATTACH, &request);
        if (program >= 0) ::close(program);
        return result;
    }
    long detach(std::uint64_t id) { return raw::call(fd, HWV_PROGRAM_DETACH, &id); }
    std::vector<hwv_program_entry> list() {
        std::vector<hwv_program_entry> entries(HWV_MAX_PROGRAMS);
        hwv_program_list l{.count = HWV_MAX_PROGRAMS,
                           .entries = reinterpret_cast<std::uint64_t>(entries.data())};
        if (raw::call(fd, HWV_PROGRAM_LIST, &l) != 0) return {};
        entries.resize(l.count);
        return entries;
    }
    hwv_program_counts counts(unsigned n = 0) {
        const auto all = list();
        return n < all.size() ? all[n].counts : hwv_program_counts{~0ull, ~0ull, ~0ull, ~0ull};
    }
    hwv_program_attach request{};
};

// The guest's next word by port 0x21: -1, and why to stdout, where it does not come.
template <typename Vcpu>
long word(Vcpu &guest) {
    if (guest.enter() == 0 && guest.run->exit.reason == HWV_EXIT_IO &&
        guest.run->exit.io.port == 0x21)
        return guest.run->exit.io.data;
    std::printf("exit reason %u\n", guest.run->exit.reason);
    return -1;
}

// ---- cases ----

void check_counts() {
    Guest guest{cpuid};
    Programmer observer{guest};
    const long plain = word(guest);
    expect("attach", observer.attach(storing({SET(ack, 1)}), cpuid_exits), 0);
    expect("passes", word(guest), plain);
    const auto all = observer.list();
    expect("listed", static_cast<long>(all.size()), 1);
    if (all.empty()) return;
    expect("runs", static_cast<long>(all[0].counts.runs), count);
    expect("acked", static_cast<long>(all[0].counts.acked), count);
    expect("not_acted", static_cast<long>(all[0].counts.acted), 0);
    expect("none_refused", static_cast<long>(all[0].counts.refused), 0);
    report("named", !std::strcmp(all[0].name, "probe"), all[0].name);
    expect("mine", all[0].flags, HWV_PROGRAM_MINE);
    Programmer other{guest};
    expect("not_of_others", other.list().at(0).flags, 0);
    expect("others_detach", other.detach(all[0].id), 0);
    expect("gone", observer.detach(all[0].id), -ENOENT);
    expect("detached", word(guest), plain);
    expect("empty", static_cast<long>(observer.list().size()), 0);
}

void check_answers() {
    Guest guest{cpuid};
    Programmer observer{guest};
    observer.attach(storing({SET(action, HWV_ACTION_ANSWER), SET(value[0], 0x1234)}), cpuid_exits);
    expect("answer", word(guest), 0x1234);
    expect("answers_counted", static_cast<long>(observer.counts().acted), count);
    // The first decides; the second runs, and knows.
    observer.attach(storing({SET(action, HWV_ACTION_ANSWER), SET(value[0], 0x5678)}), cpuid_exits);
    expect("first_decides", word(guest), 0x1234);
    expect("second_runs", static_cast<long>(observer.counts(1).runs), count);
    expect("second_does_not_act", static_cast<long>(observer.counts(1).acted), 0);
    observer.detach(observer.list().at(0).id);
    expect("second_decides_alone", word(guest), 0x5678);
    observer.detach(observer.list().at(0).id);
    observer.attach(storing({SET(action, HWV_ACTION_SKIP)}), cpuid_exits);
    expect("skip", word(guest), 0);
    observer.detach(observer.list().at(0).id);
    observer.attach(storing({SET(gprs, 1 << HWV_RAX), SET(gpr[HWV_RAX], 0x77)}), io_exits);
    expect("registers", word(guest), 0x77);
}

// #GP's handler tells by port 0x22.
void check_injection() {
    constexpr std::size_t bytes = 0x10000;
    Guest guest{cpuid};
    auto *low = static_cast<std::uint16_t *>(
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    const hwv_memory slot{
        .slot = 1, .gpa = 0, .size = bytes, .hva = reinterpret_cast<std::uint64_t>(low)};
    expect("low_memory", raw::call(guest.vm, HWV_SET_MEMORY, &slot), 0);
    low[13 * 2] = 0x1000; // segment 0
    std::memcpy(low + 0x800, "\xe6\x22", 2);
    Programmer observer{guest};
    observer.attach(storing({SET(action, HWV_ACTION_INJECT), SET(vector, 13),
                             SET(flags, HWV_PROGRAM_ERROR_CODE)}),
                    cpuid_exits);
    expect("inject", guest.enter(), 0);
    expect("inject_arrives", guest.run->exit.reason, HWV_EXIT_IO);
    expect("inject_handled", guest.run->exit.io.port, 0x22);
    expect("inject_once", static_cast<long>(observer.counts().acted), 1);
    guest.end();
    ::munmap(low, bytes);
}

void check_refused_output() {
    Guest guest{cpuid};
    Programmer observer{guest};
    const long plain = word(guest);
    const struct {
        const char *name;
        std::vector<Store> stores;
    } rows[] = {
        {"unknown_action", {SET(action, 99)}},
        {"unknown_flag", {SET(flags, 8)}},
        {"unknown_register", {SET(gprs, 1 << 16)}},
        {"nmi", {SET(action, HWV_ACTION_INJECT), SET(vector, 2)}},
        {"no_vector", {SET(action, HWV_ACTION_INJECT), SET(vector, 300)}},
        {"error_code_missing", {SET(action, HWV_ACTION_INJECT), SET(vector, 13)}},
        {"error_code_too_wide",
         {SET(action, HWV_ACTION_INJECT), SET(vector, 13), SET(flags, HWV_PROGRAM_ERROR_CODE),
          SET(error_code, 0x10000)}},
        {"with_registers", {SET(action, 99), SET(gprs, 1), SET(gpr[HWV_RAX], 5)}},
    };
    for (const auto &row : rows) {
        observer.attach(storing(row.stores), cpuid_exits);
        expect("refused_"s + row.name, word(guest), plain);
        expect("refused_"s + row.name + "_counted", static_cast<long>(observer.counts().refused),
               count);
        observer.detach(observer.list().at(0).id);
    }
    observer.attach(storing({SET(reason, 3), SET(rip, 3), SET(key, 3), SET(cr3, 3), SET(vm, 3)}),
                    cpuid_exits);
    expect("inputs_overwritten", word(guest), plain);
}

int with_program_map() {
    bpf_attr map{};
    map.map_type = BPF_MAP_TYPE_PROG_ARRAY;
    map.key_size = map.value_size = 4;
    map.max_entries = 1;
    const int fd = static_cast<int>(bpf(BPF_MAP_CREATE, map));
    const int program = load({insn(BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0),
                              insn(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, fd),
                              insn(0, 0, 0, 0, 0), insn(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0),
                              insn(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call)});
    ::close(fd);
    return program;
}

void check_refusals() {
    Guest guest{cpuid};
    Programmer observer{guest}, other{guest};
    const auto refused = [&](const char *name, int program, std::uint64_t reasons, long error,
                             hwv_program_refusal why) {
        expect(name, observer.attach(program, reasons), error);
        expect(name + "_why"s, observer.request.refused, why);
    };
    refused("type", load({}, BPF_PROG_TYPE_RAW_TRACEPOINT), cpuid_exits, -EINVAL, HWV_PROGRAM_TYPE);
    refused("beyond_the_context",
            load({insn(BPF_LDX | BPF_MEM | BPF_DW, 2, 1, sizeof(Context), 0)}), cpuid_exits,
            -EINVAL, HWV_PROGRAM_CONTEXT);
    refused("second_argument", load({insn(BPF_LDX | BPF_MEM | BPF_DW, 2, 6, 8, 0)}), cpuid_exits,
            -EINVAL, HWV_PROGRAM_CONTEXT);
    refused("tail_calls", with_program_map(), cpuid_exits, -EINVAL, HWV_PROGRAM_TAIL_CALLS);
    refused("no_reasons", storing({}), 0, -EINVAL, HWV_PROGRAM_REASONS);
    refused("unknown_reasons", storing({}), 1ull << 63, -EINVAL, HWV_PROGRAM_REASONS);
    expect("no_fd", observer.attach(-1, cpuid_exits), -EBADF);
    expect("replaces_nothing", observer.attach(storing({}), cpuid_exits, 77), -ENOENT);
    for (unsigned i = 0; i < HWV_MAX_PROGRAMS; ++i)
        (i % 2 ? other : observer).attach(storing({SET(ack, 1)}), cpuid_exits);
    refused("too_many", storing({}), cpuid_exits, -ENOSPC, HWV_PROGRAM_ROOM);
    expect("eight_run", word(guest) >= 0, true);
    long sum = 0;
    for (const hwv_program_entry &e : observer.list())
        sum += static_cast<long>(e.counts.runs);
    expect("each_runs", sum, HWV_MAX_PROGRAMS * count);
    const std::uint64_t anothers = observer.list().at(1).id;
    expect("replaces_anothers", observer.attach(storing({}), cpuid_exits, anothers), 0);
    other.close();
    expect("an_observers_end", static_cast<long>(observer.list().size()), HWV_MAX_PROGRAMS / 2 + 1);
    expect("replaced_stays", static_cast<long>(observer.list().at(1).id),
           static_cast<long>(anothers));
}

// An exit that exists because a program wants it.
void check_new_exits() {
    Guest guest{rdtsc};
    Programmer observer{guest};
    observer.attach(storing({SET(action, HWV_ACTION_ANSWER), SET(value[0], 0x4242)}), rdtsc_exits);
    expect("rdtsc_answered", word(guest), 0x4242);
    expect("rdtsc_runs", static_cast<long>(observer.counts().runs), count);
    observer.detach(observer.list().at(0).id);
    const long first = word(guest);
    report("rdtsc_own_again", word(guest) != first, "the same time twice");
}

void check_stop() {
    Guest guest{cpuid};
    Programmer observer{guest};
    observer.attach(storing({SET(action, HWV_ACTION_STOP)}), cpuid_exits);
    std::atomic<long> result{-2};
    std::thread runner([&] { result = word(guest); });
    long stops = 0;
    bool ours = true;
    while (result == -2) {
        hwv_stop stop{};
        if (raw::call(observer.fd, HWV_STOP_GET, &stop) != 0) continue;
        ours &= stop.rule == ~0u && stop.reason == HWV_EXIT_CPUID;
        hwv_stop_reply reply{.id = stop.id, .action = HWV_STOP_ANSWER, .value = {0x99, 0}};
        stops += raw::call(observer.fd, HWV_STOP_REPLY, &reply) == 0;
    }
    runner.join();
    expect("stops", stops, count);
    expect("stops_by_the_program", ours, true);
    expect("stops_answered", result, 0x99);
}

void check_swap() {
    Guest guest{cpuid};
    Programmer observer{guest};
    const auto answers = [](int value) {
        return storing({SET(action, HWV_ACTION_ANSWER), SET(value[0], value)});
    };
    observer.attach(answers(0x1111), cpuid_exits);
    const std::uint64_t id = observer.request.id;
    std::atomic<bool> done{false};
    long words = 0, wrong = 0, first = 0;
    std::thread runner([&] {
        for (; !done; ++words) {
            const long w = word(guest);
            first += w == 0x1111;
            wrong += w != 0x1111 && w != 0x2222;
        }
    });
    long swapped = 0;
    for (int i = 0; i < 60; ++i)
        swapped += observer.attach(answers(i % 2 ? 0x1111 : 0x2222), cpuid_exits, id) == 0;
    done = true;
    runner.join();
    expect("swaps", swapped, 60);
    expect("always_answered", wrong, 0);
    expect("none_missed", static_cast<long>(observer.counts().runs), words * count);
    expect("last_one_answers", word(guest), 0x1111);
    std::printf("%ld words, %ld of the first program's\n", words, first);
}

// Two vCPUs exit as fast as they can while two observers take the place of each other's program:
// what both programs counted is what there was.
void check_swap_counts() {
    Guest guest{cpuid};
    FurtherVcpu second{guest, 1};
    Programmer one{guest}, two{guest};
    const Counter counters[2];
    expect("counter_attached", one.attach(counters[0].program(), cpuid_exits), 0);
    const std::uint64_t id = one.request.id;
    std::atomic<bool> done{false};
    std::atomic<long> words{0}, failed{0};
    const auto run = [&](auto &vcpu) {
        for (; !done; ++words)
            failed += word(vcpu) < 0;
    };
    std::thread first_runs([&] { run(guest); }), second_runs([&] { run(second); });
    long swapped = 0;
    for (int i = 1; i <= 60; ++i)
        swapped += (i % 3 ? one : two).attach(counters[i % 2].program(), cpuid_exits, id) == 0;
    while (counters[0].value() + counters[1].value() < 1000)
        ::usleep(1000);
    done = true;
    first_runs.join();
    second_runs.join();
    expect("counters_swapped", swapped, 60);
    expect("counting_guests_run", failed, 0);
    expect("counters_together", counters[0].value() + counters[1].value(), words * count);
    expect("counts_go_on", static_cast<long>(one.counts().runs), words * count);
    report("counted_by_both", counters[0].value() > 0 && counters[1].value() > 0);
    std::printf("%ld exits, %ld of the first counter's\n", words * count, counters[0].value());
}

void check_death() {
    Guest guest{cpuid};
    Programmer observer{guest};
    const long plain = word(guest);
    int ready[2];
    if (::pipe(ready)) return;
    const pid_t child = ::fork();
    if (child == 0) {
        Programmer attacher{guest};
        attacher.attach(storing({SET(action, HWV_ACTION_ANSWER), SET(value[0], 7)}), cpuid_exits);
        (void)!::write(ready[1], "", 1);
        ::pause();
    }
    char byte;
    (void)!::read(ready[0], &byte, 1);
    expect("attached_by_another", word(guest), 7);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    expect("its_death_detaches", static_cast<long>(observer.list().size()), 0);
    expect("as_before", word(guest), plain);
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("programs", "this machine cannot run guests");
        return 0;
    }
    check_counts();
    check_answers();
    check_injection();
    check_refused_output();
    check_refusals();
    check_new_exits();
    check_stop();
    check_swap();
    check_swap_counts();
    check_death();
    return verdict();
}
