// SPDX-License-Identifier: GPL-2.0-only
// ls.cpp - hwvctl ls: the VMs that one may observe.
#include <bit>
#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <pwd.h>
#include "hwv/netlink.hpp"
#include "hwvctl/live.hpp"
#include "hwvctl/options.hpp"

namespace hwvctl {
namespace {

std::string user_name(std::uint32_t uid) {
    const passwd *entry = ::getpwuid(uid);
    return entry ? entry->pw_name : std::to_string(uid);
}

nlohmann::json to_json(const hwv_vm_entry &vm) {
    nlohmann::json ids = nlohmann::json::array();
    for (unsigned id = 0; id < HWV_MAX_VCPUS; ++id)
        if (vm.vcpus >> id & 1) ids.push_back(id);
    return {{"id", vm.id},        {"name", vm.name},
            {"pid", vm.pid},      {"uid", vm.uid},
            {"vcpus", ids},       {"age_seconds", static_cast<double>(vm.age_ns) / 1e9},
            {"state", state(vm)}, {"observers", vm.observers}};
}

} // namespace

std::string state(const hwv_vm_entry &vm) {
    if (vm.state & HWV_VM_STATE_ENDED) return "ended";
    if (vm.state & HWV_VM_STATE_KILLED) return "killed";
    return vm.state & HWV_VM_STATE_PAUSED ? "paused" : "runs";
}

std::string age(std::uint64_t ns) {
    const std::uint64_t s = ns / 1'000'000'000;
    if (s < 60) return fmt::format("{}.{}s", s, ns / 100'000'000 % 10);
    if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
    return s < 86400 ? fmt::format("{}h{:02}m", s / 3600, s / 60 % 60)
                     : fmt::format("{}d{:02}h", s / 86400, s / 3600 % 24);
}

std::string json_text(const nlohmann::json &json, bool one_line) {
    return json.dump(one_line ? -1 : 2, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string vm_table(std::span<const hwv_vm_entry> vms) {
    std::string out = fmt::format("{:>6} {:<20} {:>8} {:<10} {:>5} {:>8} {:<7} {}\n", "ID", "NAME",
                                  "PID", "USER", "VCPUS", "AGE", "STATE", "OBSERVERS");
    for (const hwv_vm_entry &vm : vms)
        out += fmt::format("{:>6} {:<20} {:>8} {:<10} {:>5} {:>8} {:<7} {}\n", vm.id,
                           *vm.name ? hwv::shown_name(vm) : "-", vm.pid, user_name(vm.uid),
                           std::popcount(vm.vcpus), age(vm.age_ns), state(vm), vm.observers);
    return out;
}

namespace {

const char *doing(const hwv::VcpuEntry &vcpu) {
    if (vcpu.mp_state == HWV_MP_SHUTDOWN) return "triple fault";
    if (vcpu.mp_state == HWV_MP_WAIT_SIPI) return "waits for SIPI";
    switch (vcpu.state) {
    case HWV_VCPU_STATE_USER: return "in user";
    case HWV_VCPU_STATE_STOPPED: return "stands";
    case HWV_VCPU_STATE_RUN: return vcpu.mp_state == HWV_MP_HALTED ? "halted" : "runs";
    default: return "busy";
    }
}

std::string entries(const hwv::VcpuEntry &vcpu) {
    return vcpu.entries ? std::to_string(*vcpu.entries) : "-";
}

std::string vcpu_table(std::span<const hwv::VcpuEntry> vcpus) {
    std::string out = fmt::format("{:>6} {:>5} {:>14} {}\n", "VM", "VCPU", "ENTRIES", "STATE");
    for (const hwv::VcpuEntry &v : vcpus)
        out += fmt::format("{:>6} {:>5} {:>14} {}\n", v.vm, v.id, entries(v), doing(v));
    return out;
}

nlohmann::json vcpus_of(std::uint64_t vm, std::span<const hwv::VcpuEntry> vcpus) {
    nlohmann::json out = nlohmann::json::array();
    for (const hwv::VcpuEntry &v : vcpus) {
        if (v.vm != vm) continue;
        nlohmann::json entry{{"id", v.id}, {"state", doing(v)}};
        if (v.entries) entry["entries"] = *v.entries;
        out.push_back(std::move(entry));
    }
    return out;
}

} // namespace

int ls_command(const Arguments &arguments) {
    Options options{"ls [--vcpus] [--json]",
                    "Lists the VMs that you may observe: your own ones, as root all. Oldest first.",
                    "example:\n  hwvctl ls\n  hwvctl ls --vcpus      and what each vCPU does\n"};
    options.add()("vcpus,v",
                  "their vCPUs, too: entries into the guest so far, state")("json", "for programs");
    const std::optional<Words> words = options.parse(arguments, 0, 0);
    if (!words) return 0;
    hwv::Netlink netlink;
    const std::vector<hwv_vm_entry> vms = netlink.vms();
    std::vector<hwv::VcpuEntry> vcpus;
    if (words->has("vcpus")) vcpus = netlink.vcpus();
    if (words->has("json")) {
        nlohmann::json all = nlohmann::json::array();
        for (const hwv_vm_entry &vm : vms) {
            all.push_back(to_json(vm));
            if (words->has("vcpus")) all.back()["vcpu_states"] = vcpus_of(vm.id, vcpus);
        }
        fmt::print("{}\n", json_text(all));
        return 0;
    }
    fmt::print("{}", vm_table(vms));
    if (words->has("vcpus")) fmt::print("\n{}", vcpu_table(vcpus));
    return 0;
}

} // namespace hwvctl
