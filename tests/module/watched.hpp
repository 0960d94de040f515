// SPDX-License-Identifier: GPL-2.0-only
// watched.hpp - a guest at the ioctl boundary, and an observer of it.
#pragma once
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>
#include <vector>
#include "module/raw.hpp"

inline std::uint64_t id_of_last_vm() {
    const int device = raw::open_device();
    hwv_vm_entry entries[64] = {};
    hwv_vm_list list{.count = 64, .entries = reinterpret_cast<std::uint64_t>(entries)};
    raw::call(device, HWV_LIST_VMS, &list);
    ::close(device);
    return list.count ? entries[list.count - 1].id : 0;
}

inline long attach(std::uint64_t id) {
    const int device = raw::open_device();
    hwv_attach request{.vm = id};
    const long fd = raw::call(device, HWV_ATTACH, &request);
    ::close(device);
    return fd;
}

struct Guest {
    explicit Guest(const std::string &program) { memory = raw::map_program(vm, program); }
    ~Guest() { end(); }
    void end() {
        if (vm < 0) return;
        ::munmap(run, HWV_RUN_PAGE_SIZE);
        ::close(vcpu);
        ::close(vm);
        vm = -1;
    }
    long enter() const { return raw::call(vcpu, HWV_RUN); }

    int vm = raw::create_vm();
    void *memory = nullptr;
    int vcpu = raw::create_vcpu(vm);
    hwv_run *run = raw::map_run(vcpu);
    std::uint64_t id = id_of_last_vm();
};

// A further vCPU of the guest, which runs at once, from the reset vector as the first does.
struct FurtherVcpu {
    FurtherVcpu(const Guest &guest, std::uint32_t id) : fd{raw::create_vcpu(guest.vm, id)} {
        run->regs.event = {.mp_state = HWV_MP_RUNNING};
        run->reply.dirty = HWV_REGS_EVENT;
    }
    FurtherVcpu(const FurtherVcpu &) = delete;
    FurtherVcpu &operator=(const FurtherVcpu &) = delete;
    ~FurtherVcpu() {
        ::munmap(run, HWV_RUN_PAGE_SIZE);
        ::close(fd);
    }
    long enter() const { return raw::call(fd, HWV_RUN); }

    int fd;
    hwv_run *run = raw::map_run(fd);
};

struct Observer {
    explicit Observer(const Guest &guest) : fd{static_cast<int>(attach(guest.id))} {}
    ~Observer() { close(); }
    // What is mapped holds the observer too.
    void close() {
        for (const auto &[at, bytes] : maps)
            ::munmap(at, bytes);
        maps.clear();
        if (fd >= 0) ::close(fd);
        fd = -1;
    }
    template <typename T>
    T *map(std::uint64_t kind, std::size_t bytes, int protection, std::uint32_t vcpu = 0) {
        void *at = ::mmap(nullptr, bytes, protection, MAP_SHARED, fd,
                          static_cast<off_t>(HWV_MAP(kind, vcpu)));
        if (at == MAP_FAILED) return nullptr;
        maps.emplace_back(at, bytes);
        return static_cast<T *>(at);
    }
    const hwv_vcpu_stats *stats(std::uint32_t vcpu = 0) {
        return map<const hwv_vcpu_stats>(HWV_MAP_STATS, HWV_STATS_BYTES, PROT_READ, vcpu);
    }
    hwv_ring *open_ring(std::uint64_t capacity, std::uint32_t flags, std::uint64_t reasons = ~0ull,
                        std::uint32_t every = 0, std::uint32_t vcpu = 0) {
        hwv_ring_open request{
            .vcpu = vcpu, .flags = flags, .capacity = capacity, .reasons = reasons, .every = every};
        if (raw::call(fd, HWV_RING_OPEN, &request) != 0) return nullptr;
        return map<hwv_ring>(HWV_MAP_RING, HWV_RING_HEADER + capacity * sizeof(hwv_record),
                             PROT_READ | PROT_WRITE, vcpu);
    }
    int fd;
    std::vector<std::pair<void *, std::size_t>> maps{};
};

// ---- rules ----

inline hwv_rule rule(hwv_exit_reason reason, hwv_action action = HWV_ACTION_COUNT) {
    hwv_rule r{};
    r.reason = reason;
    r.action = action;
    return r;
}
inline hwv_rule rule(hwv_exit_reason reason, hwv_action action, std::uint64_t key) {
    hwv_rule r = rule(reason, action);
    r.flags = HWV_RULE_KEY;
    r.key_first = r.key_last = key;
    return r;
}

struct Ruler : Observer {
    using Observer::Observer;
    long set(std::vector<hwv_rule> rules, std::uint32_t timeout_ms = 0) {
        request = {.count = static_cast<__u32>(rules.size()),
                   .stop_timeout_ms = timeout_ms,
                   .rules = reinterpret_cast<std::uint64_t>(rules.data())};
        return raw::call(fd, HWV_POLICY_SET, &request);
    }
    hwv_rule_counts counts(unsigned n = 0) {
        hwv_rule rules[HWV_MAX_RULES] = {};
        hwv_rule_counts all[HWV_MAX_RULES] = {};
        request = {.count = HWV_MAX_RULES,
                   .rules = reinterpret_cast<std::uint64_t>(rules),
                   .counts = reinterpret_cast<std::uint64_t>(all)};
        if (raw::call(fd, HWV_POLICY_GET, &request) != 0 || n >= request.count) return {~0u, ~0u};
        return all[n];
    }
    hwv_regs regs() {
        hwv_regs r{};
        hwv_observe_regs read{.groups = HWV_REGS_GPR | HWV_REGS_CONTROL,
                              .bytes = sizeof r,
                              .regs = reinterpret_cast<std::uint64_t>(&r)};
        if (raw::call(fd, HWV_OBSERVE_REGS, &read) != 0) r.rip = ~0ull;
        return r;
    }
    hwv_policy request{};
};
