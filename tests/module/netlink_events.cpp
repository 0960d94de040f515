// SPDX-License-Identifier: GPL-2.0-only
// timeout: 120
// bed: --smp 2
// What subscribers of the family `hwv` are told, each thing once and in order; and what a VM keeps
// for somebody who is gone: a pause, rules.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>
#include <vector>
#include "hwv/events.hpp"
#include "hwv/netlink.hpp"
#include "module/report.hpp"
#include "module/watched.hpp"

namespace {

using namespace std::chrono_literals;
using hwv::Event;
using hwv::Netlink;
using hwv::Subscription;

// Many times the interval at which a guest's doings are told.
constexpr int patience_ms = 2000;

std::string cpuids(std::uint32_t n) {
    std::string program{
        "\x66\xbe____\x66\xb8\x01\x00\x00\x00\x0f\xa2\x66\x4e\x75\xf4\xe6\x21\xeb\xea", 22};
    std::memcpy(program.data() + 2, &n, sizeof n);
    return program;
}

// The events of one VM up to its end, which has to be the last one.
std::vector<Event> events_of(Subscription &subscription, std::uint64_t vm) {
    std::vector<Event> out;
    while (const auto event = subscription.next(patience_ms)) {
        if (event->vm != vm) continue;
        out.push_back(*event);
        if (event->kind == HWV_NEWS_VM_ENDED) break;
    }
    while (const auto event = subscription.next(300)) // and nothing after it
        if (event->vm == vm) out.push_back(*event);
    return out;
}

std::string names(const std::vector<Event> &events) {
    std::string out;
    for (const Event &event : events)
        out += (out.empty() ? "" : " ") + std::string{hwv::event_name(event.kind)};
    return out;
}

bool in_sequence(const std::vector<Event> &events) {
    for (std::size_t i = 0; i < events.size(); ++i)
        if (events[i].sequence != i + 1) return false;
    return !events.empty();
}

void expect_events(const std::string &name, const std::vector<Event> &events,
                   const std::string &wanted) {
    report(name, names(events) == wanted, "got '" + names(events) + "'");
    report(name + "_numbered", in_sequence(events));
}

const Event *first(const std::vector<Event> &events, hwv_netlink_event kind) {
    for (const Event &event : events)
        if (event.kind == kind) return &event;
    return nullptr;
}

long sum(const std::vector<Event> &events, hwv_netlink_event kind) {
    std::uint64_t out = 0;
    for (const Event &event : events)
        if (event.kind == kind) out += event.count;
    return static_cast<long>(out);
}

template <typename Call>
long code_of(Call call) {
    try {
        call();
    } catch (const hwv::Error &e) {
        return e.code() ? e.code() : -1;
    }
    return 0;
}

void check_life() {
    Subscription subscription;
    report("root_gets_all", subscription.all());
    Guest guest{cpuids(1)};
    Netlink netlink;
    guest.enter();
    guest.enter();
    netlink.pause(guest.id);
    netlink.pause(guest.id);
    netlink.resume(guest.id);
    netlink.resume(guest.id);
    guest.end();
    const std::vector<Event> events = events_of(subscription, guest.id);
    expect_events("life", events, "vm_created vm_started vm_paused vm_resumed vm_ended");
    if (events.size() != 5) return;
    expect("life_pid", events[0].pid, ::getpid());
    report("life_name", events[0].name == "test" && events[4].name == "test");
    expect("life_end", events[4].why, HWV_END_CLOSED);
    report("life_times", events[0].time_ns && events[0].time_ns <= events[4].time_ns);
}

void check_kill() {
    Subscription subscription;
    Guest guest{raw::loop_for_ever};
    std::atomic<long> result{1};
    std::thread runner([&] { result = guest.enter(); });
    std::this_thread::sleep_for(20ms);
    Netlink netlink;
    netlink.kill(guest.id);
    netlink.kill(guest.id);
    runner.join();
    expect("killed_run", result, -ESHUTDOWN);
    guest.end();
    const std::vector<Event> events = events_of(subscription, guest.id);
    expect_events("kill", events, "vm_created vm_started vm_killed vm_ended");
    if (!events.empty()) expect("kill_end", events.back().why, HWV_END_KILLED);
}

// lidt with a limit of 0 (cs: of zeroes); ud2
void check_triple_fault() {
    Subscription subscription;
    Guest guest{std::string{"\x2e\x0f\x01\x1e\x20\xf0\x0f\x0b", 8}};
    expect("triple_fault_run", guest.enter(), 0);
    expect("triple_fault_exit", guest.run->exit.reason, HWV_EXIT_SHUTDOWN);
    expect("triple_fault_again", guest.enter(), 0); // is said again, and told no more
    guest.end();
    const std::vector<Event> events = events_of(subscription, guest.id);
    expect_events("triple_fault", events, "vm_created vm_started triple_fault vm_ended");
    const Event *fault = first(events, HWV_NEWS_TRIPLE_FAULT);
    if (!fault) return;
    expect("triple_fault_count", static_cast<long>(fault->count), 1);
    expect("triple_fault_vcpu", fault->vcpu, 0);
    report("triple_fault_rip", fault->rip == 0xf006, std::to_string(fault->rip));
    expect("triple_fault_end", events.back().why, HWV_END_TRIPLE_FAULT);
}

// Every time that a rule acts is told, in fewer messages.
void check_hits() {
    constexpr std::uint32_t n = 3000;
    Subscription subscription;
    Guest guest{cpuids(n)};
    Netlink netlink;
    const hwv_rule rules[] = {rule(HWV_EXIT_HLT), rule(HWV_EXIT_CPUID), rule(HWV_EXIT_CPUID)};
    netlink.keep_policy(guest.id, rules);
    const auto begin = std::chrono::steady_clock::now();
    expect("hit_run", guest.enter(), 0);
    const auto took = std::chrono::steady_clock::now() - begin;
    const std::vector<hwv::HeldRule> held = netlink.policy(guest.id);
    guest.end();
    const std::vector<Event> events = events_of(subscription, guest.id);
    long acted = 0, messages = 0;
    for (const hwv::HeldRule &r : held)
        acted += static_cast<long>(r.rule.counts.acted);
    for (const Event &event : events)
        messages += event.kind == HWV_NEWS_POLICY_HIT;
    expect("hits_acted", acted, 2 * n);
    expect("hits_told", sum(events, HWV_NEWS_POLICY_HIT), acted);
    report("hits_numbered", in_sequence(events));
    const long most = took / std::chrono::milliseconds{HWV_NETLINK_INTERVAL_MS} + 2;
    report("hits_are_few_messages", messages >= 1 && messages <= most,
           std::to_string(messages) + ", at most " + std::to_string(most));
    const Event *hit = first(events, HWV_NEWS_POLICY_HIT);
    if (!hit) return;
    report("hit_says_what", hit->reason == HWV_EXIT_CPUID && hit->key == 1 && hit->rule == 1);
    report("hit_says_where", hit->rip == 0xf00c && hit->vcpu == 0, std::to_string(hit->rip));
    expect("hit_says_whose", static_cast<long>(hit->holder), 0);
}

void check_overflow() {
    constexpr std::uint32_t n = 500;
    Subscription subscription;
    Guest guest{cpuids(n)};
    Observer observer{guest};
    const hwv_ring *ring = observer.open_ring(64, 0, 1ull << HWV_EXIT_CPUID);
    expect("overflow_run", guest.enter(), 0);
    const long dropped = ring ? static_cast<long>(ring->dropped) : -1;
    guest.end();
    const std::vector<Event> events = events_of(subscription, guest.id);
    expect("overflow_dropped", dropped, n - 64);
    expect("overflow_told", sum(events, HWV_NEWS_RING_OVERFLOW), dropped);
    report("overflow_numbered", in_sequence(events));
}

// What is kept stays when the socket that asked for it is closed.
void check_kept_pause() {
    Guest guest{raw::loop_for_ever};
    Observer observer{guest};
    std::atomic<long> result{1};
    std::thread runner([&] { result = guest.enter(); });
    std::this_thread::sleep_for(20ms);
    expect("regs_of_a_running_vcpu", code_of([&] { Netlink{}.registers(guest.id, 0); }), EBUSY);
    Netlink{}.pause(guest.id);
    hwv_vm_entry vm = Netlink{}.vm(guest.id);
    expect("kept_paused", vm.state, HWV_VM_STATE_PAUSED);
    expect("keeper_is_no_observer", vm.observers, 1);
    const hwv_regs regs = Netlink{}.registers(guest.id, 0);
    report("regs_say_rip", regs.rip == 0xf000 || regs.rip == 0xf001, std::to_string(regs.rip));
    expect("vcpu_stands", Netlink{}.vcpus(guest.id).at(0).state, HWV_VCPU_STATE_STOPPED);
    expect("observer_pauses_too", raw::call(observer.fd, HWV_PAUSE), 0);
    expect("resume_leaves_his", code_of([&] { Netlink{}.resume(guest.id); }), EBUSY);
    expect("still_paused", Netlink{}.vm(guest.id).state, HWV_VM_STATE_PAUSED);
    expect("his_resume", raw::call(observer.fd, HWV_RESUME), 0);
    expect("goes_on", Netlink{}.vm(guest.id).state, 0);
    Netlink{}.kick(guest.id, 0);
    runner.join();
    expect("kicked_run", result, 0);
    expect("kicked", guest.run->exit.reason, HWV_EXIT_KICKED);
}

void check_kept_rules() {
    constexpr std::uint32_t n = 100;
    Guest guest{cpuids(n)};
    const hwv_rule counted = rule(HWV_EXIT_CPUID), stops = rule(HWV_EXIT_CPUID, HWV_ACTION_STOP);
    Netlink{}.keep_policy(guest.id, {&counted, 1});
    expect("ruled_run", guest.enter(), 0);
    std::vector<hwv::HeldRule> held = Netlink{}.policy(guest.id);
    expect("rules_kept", static_cast<long>(held.size()), 1);
    if (held.size() == 1) {
        report("rule_as_it_was_given",
               std::memcmp(&held[0].rule.rule, &counted, sizeof counted) == 0);
        expect("rule_matched", static_cast<long>(held[0].rule.counts.matched), n);
    }
    expect("no_stops", code_of([&] { Netlink{}.keep_policy(guest.id, {&stops, 1}); }), EOPNOTSUPP);
    hwv_rule bad = counted;
    bad.every = 0;
    bad.flags = HWV_RULE_EVERY;
    const hwv_rule two[] = {counted, bad};
    try {
        Netlink{}.keep_policy(guest.id, two);
        report("bad_rule", false);
    } catch (const hwv::BadRule &e) {
        report("bad_rule",
               e.code() == EINVAL && e.rule() == 1 && e.field() == offsetof(hwv_rule, every));
    }
    const std::vector<hwv_rule> many(HWV_MAX_RULES + 1, counted);
    expect("too_many_rules", code_of([&] { Netlink{}.keep_policy(guest.id, many); }), E2BIG);
    expect("refused_ones_change_nothing", static_cast<long>(Netlink{}.policy(guest.id).size()), 1);
    const std::vector<hwv_rule> full(HWV_MAX_RULES, counted);
    Netlink{}.keep_policy(guest.id, full);
    held = Netlink{}.policy(guest.id);
    expect("all_rules_listed", static_cast<long>(held.size()), HWV_MAX_RULES);
    expect("in_order", held.empty() ? -1 : held.back().index, HWV_MAX_RULES - 1);
    Netlink{}.reset_policy(guest.id);
    Netlink{}.reset_policy(guest.id);
    expect("rules_gone", static_cast<long>(Netlink{}.policy(guest.id).size()), 0);
    guest.end();
}

// Somebody without capabilities gets his own VMs' events, and nobody else's.
void check_watch() {
    expect("own_events", raw::in_child([] {
               Guest other{cpuids(1)};
               const int device = raw::open_device();
               if (::setuid(1000) != 0) return 100;
               Subscription subscription;
               if (subscription.all()) return 101;
               other.enter();
               hwv_create_vm request{.name = "his"};
               const long vm = raw::call(device, HWV_CREATE_VM, &request);
               if (vm < 0) return 102;
               ::close(static_cast<int>(vm));
               other.end();
               std::string seen;
               while (const auto event = subscription.next(300))
                   seen += event->name + "_" + hwv::event_name(event->kind) + " ";
               return seen == "his_vm_created his_vm_ended " ? 0 : 103;
           }),
           0);
}

// The module goes although somebody subscribed; a new one's events need a new subscription.
void check_unload() {
    const char *module = std::getenv("HWV_MODULE");
    if (!module) return skip("unload", "no module to load again (HWV_MODULE)");
    Subscription subscription;
    Netlink netlink;
    expect("unload", ::syscall(SYS_delete_module, "hwv", O_NONBLOCK), 0);
    report("no_family", code_of([] { Netlink{}; }) == ENOENT);
    report("request_to_nobody", code_of([&] { netlink.vms(); }) != 0);
    const int fd = ::open(module, O_RDONLY | O_CLOEXEC);
    expect("load_again", ::syscall(SYS_finit_module, fd, "", 0), 0);
    ::close(fd);
    Subscription anew;
    Guest guest{cpuids(1)};
    guest.end();
    expect_events("after_unload", events_of(anew, guest.id), "vm_created vm_ended");
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("netlink_events", "this machine cannot run guests");
        return 0;
    }
    check_life();
    check_kill();
    check_triple_fault();
    check_hits();
    check_overflow();
    check_kept_pause();
    check_kept_rules();
    check_watch();
    check_unload();
    return verdict();
}
