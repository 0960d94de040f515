// SPDX-License-Identifier: GPL-2.0-only
// timeout: 120
// bed: --smp 2
// The generic netlink family: who may ask for what, what is refused and with which words, lists
// while VMs come and go, and what a VM keeps for somebody who is gone.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <netlink/attr.h>
#include <netlink/netlink.h>
#include <set>
#include <thread>
#include <unistd.h>
#include <vector>
#include "hwv/netlink.hpp"
#include "module/report.hpp"
#include "module/watched.hpp"

namespace {

using namespace std::chrono_literals;
using hwv::Netlink;

// 0, or the errno that it throws.
template <typename Call>
long code_of(Call call) {
    try {
        call();
    } catch (const hwv::Error &e) {
        return e.code() ? e.code() : -1;
    }
    return 0;
}

// A socket to send what the library would not.
struct Raw {
    hwv::NetlinkSocket socket = hwv::netlink_socket();
    int family = hwv::netlink_family(socket.get());

    hwv::NetlinkMessage request(hwv_netlink_command command, std::optional<std::uint64_t> vm,
                                int flags = 0) const {
        return hwv::netlink_request(family, command, vm, flags);
    }
    hwv::Verdict ask(const hwv::NetlinkMessage &message) const {
        return hwv::netlink_ask(socket.get(), message.get(), [](const hwv::Attributes &) {});
    }
};

// start: mov esi, n; next: mov eax, 1; cpuid; dec esi; jnz next; out 0x21, al; jmp start
std::string cpuids(std::uint32_t n) {
    std::string program{
        "\x66\xbe____\x66\xb8\x01\x00\x00\x00\x0f\xa2\x66\x4e\x75\xf4\xe6\x21\xeb\xea", 22};
    std::memcpy(program.data() + 2, &n, sizeof n);
    return program;
}

hwv_rule count_cpuid() {
    hwv_rule rule{};
    rule.reason = HWV_EXIT_CPUID;
    rule.action = HWV_ACTION_COUNT;
    return rule;
}

void check_list() {
    Guest guest{cpuids(1)};
    const int second = raw::create_vcpu(guest.vm, 3);
    Netlink netlink;
    const std::vector<hwv_vm_entry> vms = netlink.vms();
    report("list_has_one", vms.size() == 1 && vms[0].id == guest.id);
    if (vms.empty()) return;
    report("list_says_name", std::string{vms[0].name} == "test");
    expect("list_says_pid", vms[0].pid, ::getpid());
    expect("list_says_uid", vms[0].uid, ::getuid());
    expect("list_says_vcpus", static_cast<long>(vms[0].vcpus), 1 | 1 << 3);
    const hwv_vm_entry one = netlink.vm(guest.id);
    report("one_as_in_the_list", one.id == guest.id && one.vcpus == vms[0].vcpus);
    const std::vector<hwv::VcpuEntry> vcpus = netlink.vcpus();
    report("vcpus_in_order", vcpus.size() == 2 && vcpus[0].id == 0 && vcpus[1].id == 3);
    expect("vcpus_of_one", static_cast<long>(netlink.vcpus(guest.id).size()), 2);
    if (vcpus.size() == 2) {
        expect("vcpu_in_user", vcpus[0].state, HWV_VCPU_STATE_USER);
        expect("vcpu_waits_for_sipi", vcpus[1].mp_state, HWV_MP_WAIT_SIPI);
        report("vcpu_not_entered", vcpus[0].entries && *vcpus[0].entries == 0);
    }
    guest.enter();
    report("vcpu_entered", netlink.vcpus(guest.id).at(0).entries.value_or(0) > 0);
    ::close(second);
    expect("nothing_of_no_vm", code_of([&] { netlink.vm(guest.id + 1000); }), ENOENT);
}

// Every VM that lives all the time is in every list, once and in order, whatever others do.
void check_list_while_vms_come_and_go() {
    constexpr int steady = 60;
    std::vector<int> stay;
    std::set<std::uint64_t> expected;
    for (int i = 0; i < steady; ++i) {
        stay.push_back(raw::create_vm());
        expected.insert(id_of_last_vm());
    }
    std::atomic<bool> stop{false};
    std::thread churn([&] {
        while (!stop) {
            const int a = raw::create_vm(), b = raw::create_vm();
            ::close(raw::create_vcpu(b));
            ::close(a);
            ::close(b);
        }
    });
    Netlink netlink;
    int wrong = 0;
    for (int i = 0; i < 100; ++i) {
        const std::vector<hwv_vm_entry> vms = netlink.vms();
        std::set<std::uint64_t> seen;
        std::uint64_t last = 0;
        for (const hwv_vm_entry &vm : vms) {
            wrong += vm.id <= last;
            last = vm.id;
            seen.insert(vm.id);
        }
        wrong += !std::includes(seen.begin(), seen.end(), expected.begin(), expected.end());
        for (const hwv::VcpuEntry &vcpu : netlink.vcpus())
            wrong += expected.count(vcpu.vm); // these have none
    }
    stop = true;
    churn.join();
    for (int fd : stay)
        ::close(fd);
    expect("lists_while_vms_come_and_go", wrong, 0);
}

// A list of several pieces, with a change between two of them, says so. The kernel fills a piece as
// large as the largest buffer that the socket was read with, and the next one ahead of its time.
void check_interrupted() {
    constexpr int many = 200, piece = 4096;
    std::vector<int> vms;
    for (int i = 0; i < many; ++i)
        vms.push_back(raw::create_vm());
    const hwv::NetlinkSocket socket = hwv::netlink_socket();
    ::nl_socket_disable_msg_peek(socket.get());
    ::nl_socket_set_msg_buf_size(socket.get(), piece);
    const int family = hwv::netlink_family(socket.get());
    int seen = 0;
    const hwv::NetlinkMessage message =
        hwv::netlink_request(family, HWV_CMD_VM_GET, std::nullopt, NLM_F_DUMP);
    const hwv::Verdict verdict =
        hwv::netlink_ask(socket.get(), message.get(), [&](const hwv::Attributes &) {
            if (seen++ == 0) ::close(vms.back());
        });
    vms.pop_back();
    expect("list_of_many", seen, many - 1);
    report("change_in_a_list_is_told", verdict.interrupted);
    for (int fd : vms)
        ::close(fd);
}

void check_strictness() {
    Guest guest{cpuids(1)};
    Raw raw;
    const auto refused = [&](const std::string &name, const hwv::NetlinkMessage &message,
                             int code) {
        const hwv::Verdict verdict = raw.ask(message);
        report(name, verdict.code == code && !verdict.why.empty(),
               std::to_string(verdict.code) + " '" + verdict.why + "'");
    };
    hwv::NetlinkMessage message = raw.request(HWV_CMD_PAUSE, guest.id);
    ::nla_put_u32(message.get(), HWV_ATTR_END + 7, 1);
    refused("unknown_attribute", message, EINVAL);
    message = raw.request(HWV_CMD_KILL, guest.id);
    ::nla_put_u32(message.get(), HWV_ATTR_VCPU, 0);
    refused("attribute_of_another_command", message, EINVAL);
    message = raw.request(HWV_CMD_VM_GET, std::nullopt);
    ::nla_put_u32(message.get(), HWV_ATTR_VM, 1);
    refused("short_attribute", message, EINVAL);
    refused("no_vm_named", raw.request(HWV_CMD_KILL, std::nullopt), EINVAL);
    message = raw.request(HWV_CMD_KICK, guest.id);
    ::nla_put_u32(message.get(), HWV_ATTR_VCPU, HWV_MAX_VCPUS);
    refused("vcpu_that_cannot_be", message, ERANGE);
    for (const auto command : {HWV_CMD_KICK, HWV_CMD_PAUSE, HWV_CMD_RESUME}) {
        message = raw.request(command, guest.id);
        ::nla_put_u32(message.get(), HWV_ATTR_VCPU, 5);
        refused("vcpu_that_is_not_" + std::to_string(command), message, ENOENT);
    }
    refused("dump_of_one", raw.request(HWV_CMD_VM_GET, guest.id, NLM_F_DUMP), EINVAL);
    refused("statistics_of_no_vm", raw.request(HWV_CMD_STATS_GET, std::nullopt, NLM_F_DUMP),
            EINVAL);
    message = raw.request(HWV_CMD_REGS_GET, guest.id);
    ::nla_put_u32(message.get(), HWV_ATTR_VCPU, 0);
    ::nla_put_u32(message.get(), HWV_ATTR_GROUPS, 1u << 30);
    refused("unknown_groups", message, EINVAL);
    expect("unknown_command",
           raw.ask(raw.request(static_cast<hwv_netlink_command>(99), guest.id)).code, EOPNOTSUPP);
    expect("kernels_own_command", raw.ask(raw.request(HWV_CMD_EVENT, guest.id)).code, EOPNOTSUPP);
}

// Every command, by somebody: 0, or a number that says which one was not refused with EPERM.
int all_refused(Netlink &netlink, std::uint64_t id) {
    const hwv_rule rule = count_cpuid();
    const long codes[] = {code_of([&] { netlink.vm(id); }),
                          code_of([&] { netlink.vcpus(id); }),
                          code_of([&] { netlink.statistics(id); }),
                          code_of([&] { netlink.registers(id, 0); }),
                          code_of([&] { netlink.policy(id); }),
                          code_of([&] { netlink.keep_policy(id, {&rule, 1}); }),
                          code_of([&] { netlink.reset_policy(id); }),
                          code_of([&] { netlink.pause(id); }),
                          code_of([&] { netlink.resume(id); }),
                          code_of([&] { netlink.kick(id); }),
                          code_of([&] { netlink.kill(id); })};
    for (unsigned i = 0; i < std::size(codes); ++i)
        if (codes[i] != EPERM) return static_cast<int>(i) + 1;
    return netlink.vms().empty() && netlink.vcpus().empty() ? 0 : 50;
}

constexpr uid_t nobody = 65534, somebody = 1000;

void check_rights() {
    Guest guest{cpuids(1)};
    expect("others_may_nothing", raw::in_child([&] {
               if (::setuid(nobody) != 0) return 100;
               Netlink netlink;
               return all_refused(netlink, guest.id);
           }),
           0);
    // Root's socket in another user's hands, and his in root's.
    expect("roots_socket_lends_no_right", raw::in_child([&] {
               Netlink netlink;
               return ::setuid(nobody) ? 100 : all_refused(netlink, guest.id);
           }),
           0);
    expect("roots_hand_lends_no_right", raw::in_child([&] {
               if (::seteuid(nobody) != 0) return 100;
               Netlink netlink;
               return ::seteuid(0) ? 101 : all_refused(netlink, guest.id);
           }),
           0);
    expect("root_may", code_of([&] { Netlink{}.statistics(guest.id); }), 0);
}

// A VM that another user made, who has no capability: he may, root may.
void check_owner() {
    int to_parent[2], to_child[2];
    if (::pipe(to_parent) != 0 || ::pipe(to_child) != 0) return report("pipes", false);
    std::uint64_t id = 0;
    std::thread owner([&] {
        expect("owner_may", raw::in_child([&] {
                   const int device = raw::open_device();
                   if (::setuid(somebody) != 0) return 100;
                   hwv_create_vm request{.name = "his"};
                   if (raw::call(device, HWV_CREATE_VM, &request) < 0) return 101;
                   Netlink netlink;
                   const std::vector<hwv_vm_entry> vms = netlink.vms();
                   if (vms.size() != 1 || vms[0].uid != somebody) return 102;
                   netlink.pause(vms[0].id);
                   netlink.resume(vms[0].id);
                   char ignored;
                   if (::write(to_parent[1], &vms[0].id, 8) != 8) return 103;
                   return ::read(to_child[0], &ignored, 1) == 1 ? 0 : 104;
               }),
               0);
    });
    if (::read(to_parent[0], &id, sizeof id) == sizeof id) {
        Netlink netlink;
        report("root_sees_it", std::string{netlink.vm(id).name} == "his");
        expect("root_may_pause_it", code_of([&] { netlink.pause(id); }), 0);
        expect("a_third_may_not", raw::in_child([&] {
                   if (::setuid(nobody) != 0) return 100;
                   Netlink third;
                   return all_refused(third, id);
               }),
               0);
    }
    report("owner_told", ::write(to_child[1], "", 1) == 1);
    owner.join();
    for (int fd : {to_parent[0], to_parent[1], to_child[0], to_child[1]})
        ::close(fd);
}

void check_statistics() {
    constexpr std::uint32_t n = 700;
    Guest guest{cpuids(n)};
    Observer observer{guest};
    const hwv_vcpu_stats *page = observer.stats();
    expect("statistics_run", guest.enter(), 0);
    const std::vector<hwv::VcpuCounts> all = Netlink{}.statistics(guest.id);
    report("statistics_of_one_vcpu", all.size() == 1);
    if (all.size() != 1 || !page) return;
    const hwv::VcpuCounts &told = all[0];
    report("statistics_ends", told.entries == page->entries && told.first_tsc == page->first_tsc &&
                                  told.last_tsc == page->last_tsc);
    report("statistics_open",
           told.open_reason == HWV_EXIT_IO && told.open_cycles == page->open_cycles);
    int wrong = told.segments.size() != HWV_TIME_SEGMENTS;
    for (const hwv::TimeCount &t : told.segments) {
        const hwv_segment_stats &s = page->segment[t.kind];
        wrong += t.count != s.count || t.cycles != s.cycles || t.max_cycles != s.max_cycles;
    }
    std::uint64_t sum = 0, cpuid = 0;
    for (const hwv::TimeCount &t : told.exits) {
        const hwv_exit_stats &e = page->exit[t.kind];
        wrong += t.count != e.count || t.cycles != e.cycles || t.max_cycles != e.max_cycles ||
                 t.to_user != e.to_user;
        sum += t.count;
        if (t.kind == HWV_EXIT_CPUID) cpuid = t.count;
    }
    for (const hwv_exit_stats &e : page->exit)
        sum -= e.count;
    expect("statistics_as_the_page", wrong, 0);
    expect("statistics_all_reasons", static_cast<long>(sum), 0);
    expect("statistics_exact", static_cast<long>(cpuid), n);
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("netlink", "this machine cannot run guests");
        return 0;
    }
    check_list();
    check_list_while_vms_come_and_go();
    check_interrupted();
    check_strictness();
    check_rights();
    check_owner();
    check_statistics();
    return verdict();
}
