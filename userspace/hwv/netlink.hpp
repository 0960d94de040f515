// SPDX-License-Identifier: GPL-2.0-only
// netlink.hpp - the generic netlink family `hwv`: lists, and commands whose effect outlives the
// process that asks. Every call throws Error on failure, with the kernel's own word on it.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>
#include "hwv.h"
#include "hwv/netlink_message.hpp"
#include "hwv/observer.hpp"

namespace hwv {

struct VcpuEntry {
    std::uint64_t vm;
    std::uint32_t id;
    hwv_netlink_vcpu_state state;
    hwv_mp_state mp_state;
    std::optional<std::uint64_t> entries; // into the guest; nullopt: nothing is counted
};

struct TimeCount {
    std::uint32_t kind; // enum hwv_segment_kind, or hwv_exit_reason
    std::uint64_t count, cycles, max_cycles, to_user;
};

// Of one vCPU at one moment, see struct hwv_vcpu_stats.
struct VcpuCounts {
    std::uint32_t vcpu;
    std::uint64_t entries, first_tsc, last_tsc;
    std::uint32_t open_reason;
    std::uint64_t open_cycles;
    std::vector<TimeCount> segments, exits;
};

struct HeldRule {
    std::uint64_t holder; // 0: the VM keeps it; else a number of that observer's
    std::uint32_t index;
    Rule rule;
};

// One socket. Requests by one thread at a time.
class Netlink {
  public:
    Netlink() : socket_{netlink_socket()}, family_{netlink_family(socket_.get())} {}

    std::vector<hwv_vm_entry> vms(); // that the caller may observe, by id
    hwv_vm_entry vm(std::uint64_t id);
    std::vector<VcpuEntry> vcpus(std::optional<std::uint64_t> vm = std::nullopt);
    std::vector<VcpuCounts> statistics(std::uint64_t vm);
    hwv_regs registers(std::uint64_t vm, std::uint32_t vcpu,
                       std::uint32_t groups = HWV_REGS_ALL); // EBUSY: it runs

    // The VM keeps these rules until they are reset or it ends. Throws BadRule.
    void keep_policy(std::uint64_t vm, std::span<const hwv_rule> rules);
    void reset_policy(std::uint64_t vm);
    std::vector<HeldRule> policy(std::uint64_t vm); // in the order in which they are asked

    // The VM or one vCPU, until somebody resumes it.
    void pause(std::uint64_t vm, std::optional<std::uint32_t> vcpu = std::nullopt);
    // Of the VM: its vCPUs, too. EBUSY: done, but an observer has it paused too, or the whole VM
    // is.
    void resume(std::uint64_t vm, std::optional<std::uint32_t> vcpu = std::nullopt);
    void kick(std::uint64_t vm, std::optional<std::uint32_t> vcpu = std::nullopt);
    void kill(std::uint64_t vm);

  private:
    void command(const std::string &attempt, hwv_netlink_command command, std::uint64_t vm,
                 std::optional<std::uint32_t> vcpu = std::nullopt);
    template <typename T>
    std::vector<T> list(const std::string &attempt, hwv_netlink_command command,
                        std::optional<std::uint64_t> vm, T (*entry)(const Attributes &));

    NetlinkSocket socket_;
    int family_;
};

} // namespace hwv
