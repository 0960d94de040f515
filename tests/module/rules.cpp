// SPDX-License-Identifier: GPL-2.0-only
// timeout: 120
// bed: --smp 2
// Rules of an observer at a running guest: N instructions are N matches, answers and faults arrive,
// stops wait for a reply, and what the observer's end leaves behind is nothing.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <poll.h>
#include <thread>
#include "module/report.hpp"
#include "module/watched.hpp"
#include "oracle/test_vm.hpp"

namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;

constexpr std::uint32_t count = 200;

//        mov esi, n
//        (setup)
// next:  (body)
//        dec esi
//        jnz next
//        out 0x21, al
//        jmp start
std::string loop(std::uint32_t n, const std::string &setup, const std::string &body) {
    std::string code = "\x66\xbe____"s;
    std::memcpy(code.data() + 2, &n, sizeof n);
    code += setup;
    const std::size_t next = code.size();
    code += body + "\x66\x4e\x75"s;
    code += static_cast<char>(next - (code.size() + 1));
    code += "\xe6\x21\xe9"s;
    const auto back = static_cast<std::int16_t>(-static_cast<int>(code.size() + 2));
    return code + std::string{reinterpret_cast<const char *>(&back), 2};
}

// With memory from 0 on: vectors, stack, operands. #UD's handler steps over two bytes; #GP's tells
// by port 0x22, and #UD's elsewhere, too.
class Watched : public Guest {
  public:
    explicit Watched(const std::string &program) : Guest{program} {
        low_ = static_cast<std::uint16_t *>(
            ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        map(1, 0, low_, bytes);
        map(2, 0xff000, memory, 4096);                  // where an interrupt's CS is based
        vector(6, 0xf800, "\x58\x83\xc0\x02\x50\xcf"s); // pop ax; add ax,2; push ax; iret
        vector(13, 0xf820, "\xe6\x22\xeb\xfc"s);        // out 0x22,al; jmp $-2
    }
    ~Watched() {
        end();
        ::munmap(low_, bytes);
    }
    void map(std::uint32_t slot, std::uint64_t gpa, void *at, std::uint64_t size) const {
        const hwv_memory request{
            .slot = slot, .gpa = gpa, .size = size, .hva = reinterpret_cast<std::uint64_t>(at)};
        raw::call(vm, HWV_SET_MEMORY, &request);
    }
    void vector(unsigned n, std::uint16_t ip, const std::string &code) {
        low_[n * 2] = ip;
        low_[n * 2 + 1] = 0xf000;
        std::memcpy(static_cast<char *>(memory) + (ip & 0xfff), code.data(), code.size());
    }

  private:
    static constexpr std::size_t bytes = 0x10000;
    std::uint16_t *low_;
};

// ---- every instruction, exactly ----

struct Row {
    const char *name;
    hwv_exit_reason reason;
    std::uint64_t key;
    std::string setup, body;
    bool intel_cannot = false;
};

const std::string ecx_fs_base = "\x66\xb9\x00\x01\x00\xc0"s, eax_0 = "\x66\x31\xc0"s,
                  edx_0 = "\x66\x31\xd2"s, di = "\xbf\x00\x08"s;

std::vector<Row> rows() {
    const std::string vmcall = oracle::on_intel() ? "\x0f\x01\xc1"s : "\x0f\x01\xd9"s;
    return {
        {"cpuid", HWV_EXIT_CPUID, 1, "", "\x66\xb8\x01\x00\x00\x00\x0f\xa2"s},
        {"rdtsc", HWV_EXIT_RDTSC, 0, "", "\x0f\x31"s},
        {"rdmsr", HWV_EXIT_MSR_READ, 0x1b, "\x66\xb9\x1b\x00\x00\x00"s, "\x0f\x32"s},
        {"rdmsr_passed", HWV_EXIT_MSR_READ, 0xc000'0100, ecx_fs_base, "\x0f\x32"s},
        {"wrmsr_passed", HWV_EXIT_MSR_WRITE, 0xc000'0100, ecx_fs_base + eax_0 + edx_0, "\x0f\x30"s},
        {"hypercall", HWV_EXIT_HYPERCALL, 100, "", "\x66\xb8\x64\x00\x00\x00"s + vmcall},
        {"wbinvd", HWV_EXIT_WBINVD, 0, "", "\x0f\x09"s},
        {"pause", HWV_EXIT_PAUSE, 0, "", "\xf3\x90"s},
        {"invlpg", HWV_EXIT_INVLPG, 0, "", "\x0f\x01\x3f"s},
        {"cr3_read", HWV_EXIT_CR_READ, 3, "", "\x0f\x20\xd8"s},
        {"cr3_write", HWV_EXIT_CR_WRITE, 3, eax_0, "\x0f\x22\xd8"s},
        {"cr0_read", HWV_EXIT_CR_READ, 0, "", "\x0f\x20\xc0"s, true},
        {"dr7_read", HWV_EXIT_DR_ACCESS, 7, "", "\x0f\x21\xf8"s},
        {"dr0_write", HWV_EXIT_DR_ACCESS, 0, "", "\x0f\x23\xc0"s},
        {"sgdt", HWV_EXIT_DESCRIPTOR, 0, di, "\x0f\x01\x05"s},
        {"sgdt_lgdt", HWV_EXIT_DESCRIPTOR, 0, di, "\x0f\x01\x05\x0f\x01\x15"s},
        {"ud", HWV_EXIT_EXCEPTION, 6, "", "\x0f\x0b"s},
    };
}

void check_row(const Row &row) {
    const std::string name = std::string{"count_"} + row.name;
    Watched guest{loop(count, row.setup, row.body)};
    Ruler observer{guest};
    hwv_rule elsewhere = rule(row.reason);
    elsewhere.flags = HWV_RULE_RIP;
    const long set =
        observer.set({rule(row.reason, HWV_ACTION_COUNT, row.key), rule(row.reason), elsewhere});
    if (row.intel_cannot && oracle::on_intel()) {
        expect(name + "_refused", set, -EOPNOTSUPP);
        return;
    }
    expect(name + "_set", set, 0);
    if (guest.enter() != 0 || guest.run->exit.reason != HWV_EXIT_IO ||
        guest.run->exit.io.port != 0x21)
        return report(name, false, "exit " + std::to_string(guest.run->exit.reason));
    const long times = row.body.size() == 6 && row.reason == HWV_EXIT_DESCRIPTOR ? 2 : 1;
    expect(name, static_cast<long>(observer.counts(0).matched), times * count);
    expect(name + "_any_key", static_cast<long>(observer.counts(1).acted), times * count);
    expect(name + "_elsewhere", static_cast<long>(observer.counts(2).matched), 0);
}

// ---- what the guest sees ----

void check_answers() {
    const auto run = [](const std::string &name, const std::string &code, const hwv_rule &r) {
        Watched guest{code};
        Ruler observer{guest};
        expect(name + "_set", observer.set({r}), 0);
        expect(name + "_run", guest.enter(), 0);
        expect(name + "_port", guest.run->exit.io.port, 0x21);
        return observer.regs();
    };
    hwv_rule r = rule(HWV_EXIT_CPUID, HWV_ACTION_ANSWER);
    r.value[0] = 0x2222'2222'1111'1111, r.value[1] = 0x4444'4444'3333'3333;
    hwv_regs regs = run("answer_cpuid", loop(1, "", "\x0f\xa2"s), r);
    report("answer_cpuid", regs.gpr[HWV_RAX] == 0x1111'1111 && regs.gpr[HWV_RBX] == 0x2222'2222 &&
                               regs.gpr[HWV_RCX] == 0x3333'3333 &&
                               regs.gpr[HWV_RDX] == 0x4444'4444);
    r = rule(HWV_EXIT_RDTSC, HWV_ACTION_ANSWER);
    r.value[0] = 0x5'0000'0006;
    regs = run("answer_rdtsc", loop(3, "", "\x0f\x31"s), r);
    report("answer_rdtsc", regs.gpr[HWV_RAX] == 6 && regs.gpr[HWV_RDX] == 5);
    r = rule(HWV_EXIT_MSR_READ, HWV_ACTION_ANSWER, 0xc000'0100);
    r.value[0] = 0x7'0000'0008;
    regs = run("answer_rdmsr", loop(3, ecx_fs_base, "\x0f\x32"s), r);
    report("answer_rdmsr", regs.gpr[HWV_RAX] == 8 && regs.gpr[HWV_RDX] == 7);
    r = rule(HWV_EXIT_IO, HWV_ACTION_ANSWER, 0x80);
    r.value[0] = 0x1234;
    regs = run("answer_in", loop(3, "", "\xe5\x80"s), r);
    expect("answer_in", regs.gpr[HWV_RAX] & 0xffff, 0x1234);
    run("swallow_out", loop(3, "", "\xe7\x80"s), r);
    r = rule(HWV_EXIT_CR_READ, HWV_ACTION_ANSWER, 3);
    r.value[0] = 0x777;
    regs = run("answer_cr3", loop(1, "", "\x0f\x20\xd8"s), r);
    expect("answer_cr3", static_cast<long>(regs.gpr[HWV_RAX]), 0x777);
    r = rule(HWV_EXIT_CR_WRITE, HWV_ACTION_ANSWER, 3);
    regs = run("swallow_cr3", loop(1, "\x66\xb8\x00\x10\x00\x00"s, "\x0f\x22\xd8"s), r);
    expect("swallow_cr3", static_cast<long>(regs.cr3), 0);
    run("skip_hlt", loop(3, "", "\xf4"s), rule(HWV_EXIT_HLT, HWV_ACTION_SKIP));
    run("skip_sgdt", loop(3, di, "\x0f\x01\x05"s), rule(HWV_EXIT_DESCRIPTOR, HWV_ACTION_SKIP));
}

void check_injection() {
    Watched guest{loop(1, "", "\x0f\xa2"s)};
    Ruler observer{guest};
    hwv_rule r = rule(HWV_EXIT_CPUID, HWV_ACTION_INJECT);
    r.vector = 13;
    r.flags = HWV_RULE_ERROR_CODE;
    expect("inject_set", observer.set({r}), 0);
    expect("inject_run", guest.enter(), 0);
    expect("inject_handler", guest.run->exit.io.port, 0x22);
    r.flags = 0;
    expect("inject_bad", observer.set({rule(HWV_EXIT_HLT), r}), -EINVAL);
    expect("inject_bad_rule", observer.request.bad_rule, 1);
    expect("inject_bad_field", observer.request.bad_field, offsetof(hwv_rule, flags));
    expect("refused_changes_nothing", static_cast<long>(observer.counts().acted), 1);
    expect("too_many", observer.set(std::vector<hwv_rule>(HWV_MAX_RULES + 1, r)), -E2BIG);
}

// ---- life ----

void check_end() {
    Watched guest{loop(count, "", "\x0f\x31"s)};
    Ruler watcher{guest};
    const hwv_vcpu_stats *s = watcher.stats();
    Ruler ruler{guest};
    expect("end_set", ruler.set({rule(HWV_EXIT_RDTSC)}), 0);
    guest.enter();
    expect("end_before", static_cast<long>(s->exit[HWV_EXIT_RDTSC].count), count);
    ruler.close();
    guest.enter();
    expect("end_no_more_exits", static_cast<long>(s->exit[HWV_EXIT_RDTSC].count), count);
    expect("end_guest_runs", guest.run->exit.io.port, 0x21);
}

// While one observer changes its mind all the time, another one misses nothing.
void check_swap() {
    constexpr std::uint32_t many = 20'000;
    Watched guest{loop(many, "", "\x0f\xa2\x0f\x31"s)};
    Ruler steady{guest}, fickle{guest};
    const hwv_vcpu_stats *s = steady.stats();
    expect("swap_set", steady.set({rule(HWV_EXIT_CPUID), rule(HWV_EXIT_RDTSC)}), 0);
    std::atomic<bool> done{false};
    std::thread runner([&] {
        guest.enter();
        done = true;
    });
    long swaps = 0, failed = 0;
    for (; !done; ++swaps) {
        const auto reasons = swaps % 2 ? HWV_EXIT_CPUID : HWV_EXIT_RDTSC;
        failed += fickle.set({rule(reasons), rule(HWV_EXIT_EXCEPTION)}) != 0;
        failed += swaps % 3 == 0 && fickle.set({}) != 0;
    }
    runner.join();
    report("swap_swapped", swaps > 3 && !failed, std::to_string(swaps));
    expect("swap_cpuids", static_cast<long>(steady.counts(0).matched), many);
    expect("swap_rdtscs", static_cast<long>(steady.counts(1).matched), many);
    expect("swap_statistics", static_cast<long>(s->exit[HWV_EXIT_CPUID].count), many);
}

// ---- stops ----

bool wait_for_stop(const Ruler &observer, hwv_stop &stop) {
    pollfd wait{.fd = observer.fd, .events = POLLPRI, .revents = 0};
    ::poll(&wait, 1, 10'000);
    return (wait.revents & POLLPRI) && raw::call(observer.fd, HWV_STOP_GET, &stop) == 0;
}

void check_stop() {
    Watched guest{loop(2, "", "\x66\xb8\x05\x00\x00\x00\x0f\xa2"s)};
    Ruler observer{guest};
    hwv_stop stop{};
    expect("stop_set", observer.set({rule(HWV_EXIT_CPUID, HWV_ACTION_STOP)}), 0);
    expect("no_stop_yet", raw::call(observer.fd, HWV_STOP_GET, &stop), -EAGAIN);
    std::thread runner([&] { guest.enter(); });
    report("stop_seen", wait_for_stop(observer, stop));
    expect("stop_key", static_cast<long>(stop.key), 5);
    hwv_regs regs = observer.regs();
    report("stop_regs", regs.rip == stop.rip && regs.gpr[HWV_RAX] == 5);
    hwv_stop_reply reply{.id = stop.id, .action = HWV_STOP_INJECT, .vector = 2};
    expect("stop_bad_reply", raw::call(observer.fd, HWV_STOP_REPLY, &reply), -EINVAL);
    reply = {.id = stop.id, .action = HWV_STOP_ANSWER, .value = {77, 0}};
    expect("stop_reply", raw::call(observer.fd, HWV_STOP_REPLY, &reply), 0);
    const std::uint64_t first = stop.id;
    report("stop_again", wait_for_stop(observer, stop) && stop.id > first);
    expect("stop_stale", raw::call(observer.fd, HWV_STOP_REPLY, &reply), -ESTALE);
    reply.id = stop.id;
    reply.value[0] = 78;
    expect("stop_reply_again", raw::call(observer.fd, HWV_STOP_REPLY, &reply), 0);
    runner.join();
    expect("stop_answer", static_cast<long>(observer.regs().gpr[HWV_RAX]), 78);
    expect("stop_counts", static_cast<long>(observer.counts().acted), 2);
}

void check_stop_ends() {
    Watched guest{loop(1, "", "\x0f\xa2"s)};
    Ruler observer{guest};
    const std::vector<hwv_rule> stops{rule(HWV_EXIT_CPUID, HWV_ACTION_STOP)};
    expect("time_out_set", observer.set(stops, 30), 0);
    expect("time_out_run", guest.enter(), 0);
    expect("time_out_goes_on", guest.run->exit.io.port, 0x21);
    expect("long_set", observer.set(stops, 60'000), 0);
    hwv_stop stop{};
    std::atomic<long> result{1};
    std::thread runner([&] { result = guest.enter(); });
    report("long_seen", wait_for_stop(observer, stop));
    expect("long_waits", result, 1);
    observer.close();
    runner.join();
    expect("observers_end_lets_go", result, 0);
    Ruler killer{guest};
    expect("kill_set", killer.set(stops, 60'000), 0);
    result = 1;
    std::thread again([&] { result = guest.enter(); });
    report("kill_seen", wait_for_stop(killer, stop));
    expect("kill", raw::call(killer.fd, HWV_KILL), 0);
    again.join();
    expect("kill_ends_it", result, -ESHUTDOWN);
}

// Observers that end with a rule that stops, and others that take their slot at once: none is told
// of a stop that is not its own.
void check_slot_taken() {
    Watched guest{loop(1, "", "\x0f\xa2"s)};
    std::atomic<bool> done{false};
    std::thread runner([&] {
        while (!done)
            guest.enter();
    });
    long told = 0, set = 0;
    for (int i = 0; i < 150; ++i) {
        Ruler former{guest};
        set += former.set({rule(HWV_EXIT_CPUID, HWV_ACTION_STOP)}, 60'000) == 0;
        former.close();
        const Ruler later{guest};
        hwv_stop stop{};
        for (int n = 0; n < 20; ++n)
            told += raw::call(later.fd, HWV_STOP_GET, &stop) == 0;
    }
    done = true;
    runner.join();
    expect("slot_former_set", set, 150);
    expect("slot_later_not_told", told, 0);
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("rules", "this machine cannot run guests");
        return 0;
    }
    for (const Row &row : rows())
        check_row(row);
    check_answers();
    check_injection();
    check_end();
    check_swap();
    check_stop();
    check_stop_ends();
    check_slot_taken();
    return verdict();
}
