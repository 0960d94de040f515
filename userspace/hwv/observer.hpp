// SPDX-License-Identifier: GPL-2.0-only
// observer.hpp - a VM watched and steered from outside. The observer's end undoes what it did: what
// it paused or stopped goes on, its rings and rules go. Every call throws Error on failure.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>
#include "hwv.h"
#include "hwv/error.hpp"
#include "hwv/fd.hpp"
#include "hwv/ring.hpp"
#include "hwv/stats.hpp"

namespace hwv {

// What wait() came back for; none of them: the time was up, or a signal came.
struct Events {
    bool records = false; // a ring has some
    bool stop = false;    // a vCPU waits for a reply
    bool ended = false;   // the VM has ended
};

struct Rule {
    hwv_rule rule;
    hwv_rule_counts counts;
};

class BadRule : public Error {
  public:
    BadRule(int code, std::uint32_t rule, std::uint32_t field);
    std::uint32_t rule() const { return rule_; }   // index
    std::uint32_t field() const { return field_; } // byte offset in hwv_rule

  private:
    std::uint32_t rule_, field_;
};

class Observer {
  public:
    explicit Observer(Fd fd) : fd_{std::move(fd)} {}

    hwv_vm_entry info() const; // after the VM's end too
    std::vector<std::uint32_t> vcpus() const;
    StatsPage stats(std::uint32_t vcpu) const; // stays readable after the end

    void pause(); // returns when no vCPU runs the guest
    void resume();
    void kill();

    // Of a vCPU that does not run the guest: EBUSY otherwise. groups: HWV_REGS_*.
    hwv_regs registers(std::uint32_t vcpu, std::uint32_t groups = HWV_REGS_ALL) const;
    void set_registers(std::uint32_t vcpu, std::uint32_t groups, const hwv_regs &regs);
    // Guest-physical: how many bytes there were before the first without memory behind it.
    std::size_t read_memory(std::uint64_t gpa, std::span<std::byte> to) const;
    std::size_t write_memory(std::uint64_t gpa, std::span<const std::byte> from);

    Ring open_ring(const RingOptions &options);
    void close_ring(std::uint32_t vcpu);
    // Also lets vCPUs go on that waited for room in a ring that was read meanwhile. -1: for ever.
    Events wait(int timeout_ms) const;

    // Instead of the rules that this observer had, and all at once; stop_timeout_ms: 0 is
    // HWV_STOP_TIMEOUT_MS. Throws BadRule where one of them is why not.
    void set_policy(std::span<const hwv_rule> rules, std::uint32_t stop_timeout_ms = 0);
    std::vector<Rule> policy() const;
    std::optional<hwv_stop> next_stop() const; // nullopt: no vCPU waits
    bool reply(const hwv_stop_reply &reply);   // false: that stop was over already
    int fd() const { return fd_.get(); }

  private:
    Fd fd_;
};

// The VMs that the caller may observe, oldest first.
std::vector<hwv_vm_entry> list_vms();

// The one VM that `text` names: its id, name or owner's pid, or id:N, name:TEXT, pid:N where two
// could be meant. Throws Error, with those that there are, where it is none or several.
const hwv_vm_entry &find_vm(std::span<const hwv_vm_entry> vms, const std::string &text);

// Its name as far as a terminal may show it: names are any bytes of another user's.
std::string shown_name(const hwv_vm_entry &vm);

Observer attach(std::uint64_t id);
Observer attach(const std::string &vm); // as find_vm()

} // namespace hwv
