// SPDX-License-Identifier: GPL-2.0-only
#include "hwv/netlink.hpp"
#include <algorithm>
#include <cstring>
#include <netlink/attr.h>
#include <netlink/netlink.h>
#include "hwv/error.hpp"

namespace hwv {
namespace {

hwv_vm_entry vm_in(const Attributes &a) {
    hwv_vm_entry vm{};
    vm.id = a.number(HWV_ATTR_VM);
    const std::string name = a.text(HWV_ATTR_NAME);
    std::memcpy(vm.name, name.data(), std::min(name.size(), sizeof vm.name - 1));
    vm.pid = a.number32(HWV_ATTR_PID);
    vm.uid = a.number32(HWV_ATTR_UID);
    vm.vcpus = a.number(HWV_ATTR_VCPUS);
    vm.age_ns = a.number(HWV_ATTR_AGE);
    vm.state = a.number32(HWV_ATTR_STATE);
    vm.observers = a.number32(HWV_ATTR_OBSERVERS);
    return vm;
}

VcpuEntry vcpu_in(const Attributes &a) {
    VcpuEntry vcpu{.vm = a.number(HWV_ATTR_VM),
                   .id = a.number32(HWV_ATTR_VCPU),
                   .state = static_cast<hwv_netlink_vcpu_state>(a.number(HWV_ATTR_VCPU_STATE)),
                   .mp_state = static_cast<hwv_mp_state>(a.number(HWV_ATTR_MP_STATE)),
                   .entries = std::nullopt};
    if (a.has(HWV_ATTR_ENTRIES)) vcpu.entries = a.number(HWV_ATTR_ENTRIES);
    return vcpu;
}

HeldRule rule_in(const Attributes &a) {
    return {.holder = a.number(HWV_ATTR_HOLDER),
            .index = a.number32(HWV_ATTR_RULE_INDEX),
            .rule = {a.structure<hwv_rule>(HWV_ATTR_RULE),
                     {a.number(HWV_ATTR_MATCHED), a.number(HWV_ATTR_ACTED)}}};
}

TimeCount times_in(nlattr *nest, hwv_netlink_attribute kind) {
    const Attributes a{nest};
    return {a.number32(kind), a.number(HWV_ATTR_COUNT), a.number(HWV_ATTR_CYCLES),
            a.number(HWV_ATTR_MAX_CYCLES), a.number(HWV_ATTR_TO_USER)};
}

VcpuCounts counts_in(const Attributes &a) {
    VcpuCounts out{.vcpu = a.number32(HWV_ATTR_VCPU),
                   .entries = a.number(HWV_ATTR_ENTRIES),
                   .first_tsc = a.number(HWV_ATTR_FIRST_TSC),
                   .last_tsc = a.number(HWV_ATTR_LAST_TSC),
                   .open_reason = a.number32(HWV_ATTR_REASON),
                   .open_cycles = a.number(HWV_ATTR_CYCLES),
                   .segments = {},
                   .exits = {}};
    a.each(HWV_ATTR_SEGMENT,
           [&](nlattr *n) { out.segments.push_back(times_in(n, HWV_ATTR_SEGMENT_KIND)); });
    a.each(HWV_ATTR_EXIT, [&](nlattr *n) { out.exits.push_back(times_in(n, HWV_ATTR_REASON)); });
    return out;
}

void ignore(const Attributes &) {}

} // namespace

// Where VMs come and go without a pause, one list is as good as the next: each VM in it is whole.
template <typename T>
std::vector<T> Netlink::list(const std::string &attempt, hwv_netlink_command command,
                             std::optional<std::uint64_t> vm, T (*entry)(const Attributes &)) {
    constexpr int tries = 5;
    std::vector<T> out;
    for (int i = 0; i < tries; ++i) {
        out.clear();
        const NetlinkMessage message = netlink_request(family_, command, vm, NLM_F_DUMP);
        const Verdict verdict =
            netlink_ask(socket_.get(), message.get(),
                        [&](const Attributes &attributes) { out.push_back(entry(attributes)); });
        verdict.must_be_good(attempt);
        if (!verdict.interrupted) break;
    }
    return out;
}

void Netlink::command(const std::string &attempt, hwv_netlink_command command, std::uint64_t vm,
                      std::optional<std::uint32_t> vcpu) {
    const NetlinkMessage message = netlink_request(family_, command, vm);
    if (vcpu) ::nla_put_u32(message.get(), HWV_ATTR_VCPU, *vcpu);
    netlink_ask(socket_.get(), message.get(), ignore).must_be_good(attempt);
}

std::vector<hwv_vm_entry> Netlink::vms() {
    return list("list the VMs", HWV_CMD_VM_GET, std::nullopt, vm_in);
}

hwv_vm_entry Netlink::vm(std::uint64_t id) {
    hwv_vm_entry out{};
    const NetlinkMessage message = netlink_request(family_, HWV_CMD_VM_GET, id);
    netlink_ask(socket_.get(), message.get(), [&](const Attributes &a) {
        out = vm_in(a);
    }).must_be_good("ask about the VM");
    return out;
}

std::vector<VcpuEntry> Netlink::vcpus(std::optional<std::uint64_t> vm) {
    return list("list the vCPUs", HWV_CMD_VCPU_GET, vm, vcpu_in);
}

std::vector<VcpuCounts> Netlink::statistics(std::uint64_t vm) {
    return list("read the statistics", HWV_CMD_STATS_GET, vm, counts_in);
}

std::vector<HeldRule> Netlink::policy(std::uint64_t vm) {
    return list("read the rules", HWV_CMD_POLICY_GET, vm, rule_in);
}

hwv_regs Netlink::registers(std::uint64_t vm, std::uint32_t vcpu, std::uint32_t groups) {
    hwv_regs regs{};
    const NetlinkMessage message = netlink_request(family_, HWV_CMD_REGS_GET, vm);
    ::nla_put_u32(message.get(), HWV_ATTR_VCPU, vcpu);
    ::nla_put_u32(message.get(), HWV_ATTR_GROUPS, groups);
    netlink_ask(socket_.get(), message.get(), [&](const Attributes &a) {
        regs = a.structure<hwv_regs>(HWV_ATTR_REGS);
    }).must_be_good("read the registers of vCPU " + std::to_string(vcpu));
    return regs;
}

void Netlink::keep_policy(std::uint64_t vm, std::span<const hwv_rule> rules) {
    const NetlinkMessage message = netlink_request(family_, HWV_CMD_POLICY_SET, vm);
    nlattr *nest = ::nla_nest_start(message.get(), HWV_ATTR_RULES);
    for (const hwv_rule &rule : rules)
        if (!nest || ::nla_put(message.get(), HWV_ATTR_RULE, sizeof rule, &rule) < 0)
            throw Error{E2BIG, "a policy has at most " + std::to_string(HWV_MAX_RULES) + " rules"};
    ::nla_nest_end(message.get(), nest);
    const Verdict verdict = netlink_ask(socket_.get(), message.get(), ignore);
    if (verdict.code && verdict.cookie)
        throw BadRule{verdict.code, static_cast<std::uint32_t>(*verdict.cookie >> 32),
                      static_cast<std::uint32_t>(*verdict.cookie)};
    verdict.must_be_good("set the policy");
}

void Netlink::reset_policy(std::uint64_t vm) {
    command("reset the policy", HWV_CMD_POLICY_RESET, vm);
}
void Netlink::pause(std::uint64_t vm, std::optional<std::uint32_t> vcpu) {
    command("pause the VM", HWV_CMD_PAUSE, vm, vcpu);
}
void Netlink::resume(std::uint64_t vm, std::optional<std::uint32_t> vcpu) {
    command("resume the VM", HWV_CMD_RESUME, vm, vcpu);
}
void Netlink::kill(std::uint64_t vm) { command("kill the VM", HWV_CMD_KILL, vm); }

void Netlink::kick(std::uint64_t vm, std::optional<std::uint32_t> vcpu) {
    command("kick the VM", HWV_CMD_KICK, vm, vcpu);
}

} // namespace hwv
