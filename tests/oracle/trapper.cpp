// SPDX-License-Identifier: GPL-2.0-only
#include <cerrno>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vector>
#include "oracle/hwv_vm.hpp"
#include "oracle/test_vm.hpp"

namespace oracle {
namespace {

// Bochs 3.0's SVM takes neither the CR2 nor the next RIP of an exception that is injected: there
// exceptions, the last, are left alone.
constexpr hwv_exit_reason reasons[] = {
    HWV_EXIT_CPUID,    HWV_EXIT_HLT,       HWV_EXIT_IO,        HWV_EXIT_RDTSC,
    HWV_EXIT_INVLPG,   HWV_EXIT_PAUSE,     HWV_EXIT_WBINVD,    HWV_EXIT_DESCRIPTOR,
    HWV_EXIT_CR_READ,  HWV_EXIT_CR_WRITE,  HWV_EXIT_DR_ACCESS, HWV_EXIT_RDPMC,
    HWV_EXIT_MSR_READ, HWV_EXIT_MSR_WRITE, HWV_EXIT_EXCEPTION,
};

unsigned count() { return sizeof reasons / sizeof reasons[0] - (on_bochs() && !on_intel()); }

int call(int fd, unsigned long request, void *argument, const char *what) {
    const int result = ::ioctl(fd, request, argument);
    if (result < 0) throw Failure{errno, what};
    return result;
}

int attach_to_last() {
    const int device = ::open("/dev/hwv", O_RDWR | O_CLOEXEC);
    std::vector<hwv_vm_entry> entries(64);
    hwv_vm_list list{.count = 64, .entries = reinterpret_cast<std::uint64_t>(entries.data())};
    call(device, HWV_LIST_VMS, &list, "HWV_LIST_VMS");
    if (!list.count) throw Failure{ENOENT, "HWV_LIST_VMS"};
    hwv_attach request{.vm = entries[list.count - 1].id};
    const int fd = call(device, HWV_ATTACH, &request, "HWV_ATTACH");
    ::close(device);
    return fd;
}

} // namespace

std::map<hwv_exit_reason, std::uint64_t> &trapped_exits() {
    static std::map<hwv_exit_reason, std::uint64_t> all;
    return all;
}

Trapper::Trapper() : fd_{attach_to_last()} {
    std::vector<hwv_rule> rules(count());
    for (unsigned i = 0; i < count(); ++i)
        rules[i].reason = reasons[i];
    hwv_policy policy{.count = count(), .rules = reinterpret_cast<std::uint64_t>(rules.data())};
    call(fd_, HWV_POLICY_SET, &policy, "HWV_POLICY_SET");
}

Trapper::~Trapper() {
    std::vector<hwv_rule> rules(count());
    std::vector<hwv_rule_counts> counts(count());
    hwv_policy policy{.count = count(),
                      .rules = reinterpret_cast<std::uint64_t>(rules.data()),
                      .counts = reinterpret_cast<std::uint64_t>(counts.data())};
    if (::ioctl(fd_, HWV_POLICY_GET, &policy) == 0)
        for (unsigned i = 0; i < count(); ++i)
            trapped_exits()[reasons[i]] += counts[i].matched;
    ::close(fd_);
}

} // namespace oracle
