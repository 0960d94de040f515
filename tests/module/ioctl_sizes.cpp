// SPDX-License-Identifier: GPL-2.0-only
// Every extensible request with its structure cut by 8 bytes, whole, longer by 8 zero and by 8
// non-zero bytes, at an address that is not mapped, and with a part of the structure beyond the
// last mapped byte.
#include <cerrno>
#include <cstring>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>
#include "module/report.hpp"
#include "module/watched.hpp"

namespace {

struct Case {
    std::string name;
    int fd;
    unsigned long request;
    std::vector<std::byte> valid; // a structure that the kernel takes
    long result;                  // what it says to it
};

template <typename T>
Case make(const char *name, int fd, unsigned long request, const T &value, long result = 0) {
    static_assert(sizeof(T) % 8 == 0);
    Case out{name, fd, request, std::vector<std::byte>(sizeof(T)), result};
    std::memcpy(out.valid.data(), &value, sizeof value);
    return out;
}

long try_size(const Case &c, std::size_t bytes, std::byte tail) {
    std::vector<std::byte> buffer(c.valid);
    buffer.resize(std::max(bytes, c.valid.size()), tail);
    return raw::call(c.fd, raw::with_size(c.request, bytes), buffer.data());
}

// Where the kernel writes, it zeroes what it does not know.
void check_tail(const Case &c) {
    std::vector<std::byte> buffer(c.valid);
    bool reads = _IOC_DIR(c.request) & _IOC_WRITE;
    buffer.resize(c.valid.size() + 8, reads ? std::byte{0} : std::byte{0xaa});
    raw::call(c.fd, raw::with_size(c.request, buffer.size()), buffer.data());
    std::uint64_t tail = 0;
    std::memcpy(&tail, buffer.data() + c.valid.size(), 8);
    expect(c.name + "_tail", static_cast<long>(tail), 0);
}

void check_pointers(const Case &c) {
    expect(c.name + "_null", raw::call(c.fd, c.request, nullptr), -EFAULT);
    auto *two = static_cast<std::byte *>(
        ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ::munmap(two + 4096, 4096);
    std::byte *at = two + 4096 - c.valid.size() + 4;
    std::memcpy(at, c.valid.data(), c.valid.size() - 4);
    expect(c.name + "_straddles", raw::call(c.fd, c.request, at), -EFAULT);
    expect(c.name + "_kernel_address",
           raw::call(c.fd, c.request, reinterpret_cast<void *>(0xffff888000001000)), -EFAULT);
    ::munmap(two, 4096);
}

void check(const Case &c) {
    std::size_t size = c.valid.size();
    expect(c.name + "_size", static_cast<long>(size), static_cast<long>(_IOC_SIZE(c.request)));
    expect(c.name + "_shorter", try_size(c, size - 8, {}), -EINVAL);
    expect(c.name + "_equal", try_size(c, size, {}), c.result);
    expect(c.name + "_longer_zero", try_size(c, size + 8, {}), c.result);
    bool reads = _IOC_DIR(c.request) & _IOC_WRITE;
    expect(c.name + "_longer_nonzero", try_size(c, size + 8, std::byte{1}),
           reads ? -E2BIG : c.result);
    if (_IOC_DIR(c.request) & _IOC_READ) check_tail(c);
    check_pointers(c);
}

struct Fds {
    int device, vm, vcpu, event, observer;
};

void check_system(const Fds &fds) {
    static hwv_cpuid_entry entries[HWV_MAX_CPUID];
    check(make("get_info", fds.device, HWV_GET_INFO, hwv_info{}));
    check(make("get_cpuid", fds.device, HWV_GET_CPUID,
               hwv_cpuid_table{HWV_MAX_CPUID, 0, reinterpret_cast<std::uint64_t>(entries)}));
    check(
        make("create_vm", fds.device, HWV_CREATE_VM, hwv_create_vm{.flags = 1ull << 63}, -EINVAL));
}

void check_vm(const Fds &fds) {
    static std::uint64_t bitmap[1];
    check(make("set_memory", fds.vm, HWV_SET_MEMORY, hwv_memory{.slot = 3, .gpa = 1}, -EINVAL));
    check(make(
        "dirty_log", fds.vm, HWV_DIRTY_LOG,
        hwv_dirty_log{.slot = 7, .pages = 64, .bitmap = reinterpret_cast<std::uint64_t>(bitmap)},
        -ENOENT));
    check(make("create_vcpu", fds.vm, HWV_CREATE_VCPU, hwv_create_vcpu{.id = 0}, -EEXIST));
    check(make("msi", fds.vm, HWV_MSI, hwv_msi{.address = 0xfee00000, .data = 0x300},
               -EINVAL)); // reserved delivery mode
    check(make("irqfd", fds.vm, HWV_IRQFD, hwv_irqfd{.fd = fds.event, .flags = HWV_IRQFD_DEASSIGN},
               -ENOENT));
    check(make("ioeventfd", fds.vm, HWV_IOEVENTFD,
               hwv_ioeventfd{.length = 4, .fd = fds.event, .flags = HWV_IOEVENTFD_DEASSIGN},
               -ENOENT));
    check(make("eoi_exits", fds.vm, HWV_EOI_EXITS, hwv_eoi_exits{}));
    check(make("clock", fds.vm, HWV_CLOCK, hwv_clock{}));
}

void check_vcpu(const Fds &fds) {
    static hwv_msr_entry msr{.index = 0x10};
    check(make("set_cpuid", fds.vcpu, HWV_SET_CPUID, hwv_cpuid_table{}));
    check(
        make("msrs", fds.vcpu, HWV_MSRS, hwv_msrs{1, 0, reinterpret_cast<std::uint64_t>(&msr)}, 1));
    check(make("xsave", fds.vcpu, HWV_XSAVE, hwv_xsave{}, -EINVAL));
    check(make("apic_reg", fds.vcpu, HWV_APIC_REG, hwv_apic_reg{.offset = 0x30}));
    check(make("interrupt", fds.vcpu, HWV_INTERRUPT, hwv_interrupt{.kind = 99}, -EINVAL));
}

void check_observer(const Fds &fds) {
    check(make("policy_set", fds.observer, HWV_POLICY_SET, hwv_policy{}));
    check(make("policy_get", fds.observer, HWV_POLICY_GET, hwv_policy{}));
    check(make("stop_reply", fds.observer, HWV_STOP_REPLY, hwv_stop_reply{}, -ESTALE));
    check(make("program_attach", fds.observer, HWV_PROGRAM_ATTACH,
               hwv_program_attach{.fd = -1, .reasons = 1 << HWV_EXIT_CPUID}, -EBADF));
    check(make("program_detach", fds.observer, HWV_PROGRAM_DETACH, std::uint64_t{7}, -ENOENT));
    check(make("program_list", fds.observer, HWV_PROGRAM_LIST, hwv_program_list{}));
    check(make("observe_eventfd", fds.observer, HWV_OBSERVE_EVENTFD,
               hwv_observe_eventfd{.fd = fds.device}, -EINVAL));
}

// What is no request at all, of each kind of fd.
void check_unknown(const char *kind, int fd) {
    std::uint64_t buffer[32] = {};
    std::string name = kind;
    expect(name + "_unknown_number", raw::call(fd, _IO(HWV_IOC, 0xff)), -ENOTTY);
    expect(name + "_unknown_type", raw::call(fd, _IOR('h', 0x00, hwv_info), buffer), -ENOTTY);
    expect(name + "_unknown_direction", raw::call(fd, _IOW(HWV_IOC, 0x00, hwv_info), buffer),
           -ENOTTY);
    expect(name + "_request_of_none", raw::call(fd, _IO(HWV_IOC, 0x05)), -ENOTTY);
    expect(name + "_zero", raw::call(fd, 0), -ENOTTY);
}

void check_plain(const Fds &fds) {
    expect("run_argument", raw::call(fds.vcpu, HWV_RUN, &fds), -EINVAL);
    expect("kick_argument", raw::call(fds.vcpu, HWV_KICK, &fds), -EINVAL);
    expect("run_with_size", raw::call(fds.vcpu, raw::with_size(HWV_RUN, 8), &fds), -ENOTTY);
    expect("run_on_vm", raw::call(fds.vm, HWV_RUN), -ENOTTY);
    expect("create_vm_on_vcpu", raw::call(fds.vcpu, HWV_CREATE_VM, &fds), -ENOTTY);
}

} // namespace

int main() {
    Fds fds{};
    fds.device = raw::open_device();
    fds.vm = raw::create_vm();
    fds.vcpu = raw::create_vcpu(fds.vm);
    fds.event = ::eventfd(0, EFD_CLOEXEC);
    check_system(fds);
    check_vm(fds);
    check_vcpu(fds);
    fds.observer = static_cast<int>(attach(id_of_last_vm()));
    check_observer(fds);
    check_unknown("system", fds.device);
    check_unknown("vm", fds.vm);
    check_unknown("vcpu", fds.vcpu);
    check_unknown("observer", fds.observer);
    check_plain(fds);
    return verdict();
}
