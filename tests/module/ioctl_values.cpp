// SPDX-License-Identifier: GPL-2.0-only
// What each request refuses by value: reserved fields, unknown flags, limits, names, descriptors of
// the wrong kind.
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

void check_create_vm(int device) {
    hwv_create_vm request{};
    std::memset(request.name, 'x', sizeof request.name);
    expect("name_without_end", raw::call(device, HWV_CREATE_VM, &request), -EINVAL);
    request = {.flags = 1ull << 40};
    expect("vm_unknown_flag", raw::call(device, HWV_CREATE_VM, &request), -EINVAL);
    for (int i : {0, 2}) {
        request = {};
        request.reserved[i] = 1;
        expect("vm_reserved_" + std::to_string(i), raw::call(device, HWV_CREATE_VM, &request),
               -EINVAL);
    }
    request = {.kvm_fd = device};
    expect("kvm_fd_without_flag", raw::call(device, HWV_CREATE_VM, &request), -EINVAL);
    request = {.flags = HWV_VM_RIDE, .kvm_fd = -1};
    expect("kvm_fd_that_is_no_file", raw::call(device, HWV_CREATE_VM, &request), -EBADF);
    request.kvm_fd = device;
    expect("kvm_fd_of_another_device", raw::call(device, HWV_CREATE_VM, &request), -EINVAL);
    request.kvm_fd = ::eventfd(0, 0);
    expect("kvm_fd_of_another_kind", raw::call(device, HWV_CREATE_VM, &request), -EINVAL);
    ::close(request.kvm_fd);
    request = {};
    std::memset(request.name, 'x', sizeof request.name - 1);
    long vm = raw::call(device, HWV_CREATE_VM, &request);
    report("name_of_full_length", vm >= 0, std::to_string(vm));
    ::close(static_cast<int>(vm));
}

void check_cpuid(int device, int vcpu) {
    std::vector<hwv_cpuid_entry> entries(HWV_MAX_CPUID + 1);
    hwv_cpuid_table table{0, 0, reinterpret_cast<std::uint64_t>(entries.data())};
    expect("cpuid_no_room", raw::call(device, HWV_GET_CPUID, &table), -E2BIG);
    report("cpuid_says_count", table.count > 0 && table.count <= HWV_MAX_CPUID,
           std::to_string(table.count));
    expect("cpuid_exact_room", raw::call(device, HWV_GET_CPUID, &table), 0);
    table.entries = 8;
    expect("cpuid_bad_entries", raw::call(device, HWV_GET_CPUID, &table), -EFAULT);
    expect("set_cpuid_bad_entries", raw::call(vcpu, HWV_SET_CPUID, &table), -EFAULT);
    table.reserved = 1;
    expect("cpuid_reserved", raw::call(device, HWV_GET_CPUID, &table), -EINVAL);
    expect("set_cpuid_reserved", raw::call(vcpu, HWV_SET_CPUID, &table), -EINVAL);
    table = {HWV_MAX_CPUID + 1, 0, reinterpret_cast<std::uint64_t>(entries.data())};
    expect("set_cpuid_too_many", raw::call(vcpu, HWV_SET_CPUID, &table), -E2BIG);
}

void check_create_vcpu(int vm) {
    hwv_create_vcpu request{.id = HWV_MAX_VCPUS};
    expect("vcpu_id_too_large", raw::call(vm, HWV_CREATE_VCPU, &request), -EINVAL);
    request = {.id = 1, .flags = 1};
    expect("vcpu_flags", raw::call(vm, HWV_CREATE_VCPU, &request), -EINVAL);
}

void check_memory(int vm) {
    auto at = [&](std::uint32_t slot, std::uint32_t flags, std::uint64_t gpa, std::uint64_t size,
                  std::uint64_t hva) {
        hwv_memory request{slot, flags, gpa, size, hva};
        return raw::call(vm, HWV_SET_MEMORY, &request);
    };
    constexpr std::uint64_t high = 0xfffffffffffff000;
    expect("memory_slot_too_large", at(HWV_MAX_SLOTS, 0, 0, 4096, 0x10000), -EINVAL);
    expect("memory_unknown_flag", at(1, 1u << 31, 0, 4096, 0x10000), -EINVAL);
    expect("memory_gpa_unaligned", at(1, 0, 8, 4096, 0x10000), -EINVAL);
    expect("memory_size_unaligned", at(1, 0, 0, 4095, 0x10000), -EINVAL);
    expect("memory_hva_unaligned", at(1, 0, 0, 4096, 0x10008), -EINVAL);
    expect("memory_gpa_wraps", at(1, 0, high, 0x2000, 0x10000), -EINVAL);
    expect("memory_hva_wraps", at(1, 0, 0, 0x2000, high), -EINVAL);
    expect("memory_hva_kernel", at(1, 0, 0, 0x1000, 0xffff888000000000), -EINVAL);
    expect("memory_all_of_it", at(1, 0, 0, high, 0), -EINVAL);
    expect("memory_delete_absent", at(1, 0, 0, 0, 0), -ENOENT);
}

void check_dirty_log(int vm) {
    std::uint64_t word = 0;
    hwv_dirty_log request{.pages = 64, .bitmap = reinterpret_cast<std::uint64_t>(&word)};
    request.flags = 1;
    expect("dirty_log_flags", raw::call(vm, HWV_DIRTY_LOG, &request), -EINVAL);
    request.flags = 0;
    request.pages = 0;
    expect("dirty_log_no_pages", raw::call(vm, HWV_DIRTY_LOG, &request), -EINVAL);
    request.first = ~63ull;
    request.pages = 128;
    expect("dirty_log_wraps", raw::call(vm, HWV_DIRTY_LOG, &request), -EINVAL);
    request.first = 0;
    request.pages = 1ull << 60;
    expect("dirty_log_huge", raw::call(vm, HWV_DIRTY_LOG, &request), -ENOENT);
}

void check_msrs(int vcpu) {
    std::vector<hwv_msr_entry> entries(HWV_MAX_MSRS + 1, hwv_msr_entry{.index = 0x10});
    hwv_msrs request{0, 0, reinterpret_cast<std::uint64_t>(entries.data())};
    expect("msrs_none", raw::call(vcpu, HWV_MSRS, &request), 0);
    request.count = HWV_MAX_MSRS;
    expect("msrs_most", raw::call(vcpu, HWV_MSRS, &request), HWV_MAX_MSRS);
    request.count = HWV_MAX_MSRS + 1;
    expect("msrs_too_many", raw::call(vcpu, HWV_MSRS, &request), -E2BIG);
    request.count = 3;
    entries[1].index = 0xdeadbeef;
    expect("msrs_until_refused", raw::call(vcpu, HWV_MSRS, &request), 1);
    entries[2].reserved = 1;
    expect("msrs_entry_reserved", raw::call(vcpu, HWV_MSRS, &request), -EINVAL);
    request.flags = 2;
    expect("msrs_unknown_flag", raw::call(vcpu, HWV_MSRS, &request), -EINVAL);
}

void check_xsave(int device, int vcpu) {
    hwv_info info{};
    raw::call(device, HWV_GET_INFO, &info);
    report("xsave_size", info.xsave_bytes >= 576 && info.xsave_bytes <= 16384,
           std::to_string(info.xsave_bytes));
    std::vector<std::uint8_t> buffer(info.xsave_bytes + 64, 0xaa);
    hwv_xsave request{info.xsave_bytes, 0, reinterpret_cast<std::uint64_t>(buffer.data())};
    expect("xsave_get", raw::call(vcpu, HWV_XSAVE, &request), 0);
    expect("xsave_stays_inside", buffer[info.xsave_bytes], 0xaa);
    std::uint32_t mxcsr = 0;
    std::memcpy(&mxcsr, &buffer[24], 4);
    expect("xsave_mxcsr_after_reset", mxcsr, 0x1f80);
    request.flags = HWV_XSAVE_SET;
    buffer[160] = 0x5a; // XMM0
    buffer[512] |= 2;   // XSTATE_BV: SSE
    expect("xsave_set", raw::call(vcpu, HWV_XSAVE, &request), 0);
    std::fill(buffer.begin(), buffer.end(), std::uint8_t{});
    request.flags = 0;
    raw::call(vcpu, HWV_XSAVE, &request);
    expect("xsave_kept", buffer[160], 0x5a);
    request.flags = HWV_XSAVE_SET;
    buffer[26] = 0xff; // reserved bits of MXCSR
    expect("xsave_bad_mxcsr", raw::call(vcpu, HWV_XSAVE, &request), -EINVAL);
    buffer[26] = 0;
    buffer[519] = 0x80; // XSTATE_BV: bit 63
    expect("xsave_bad_xstate_bv", raw::call(vcpu, HWV_XSAVE, &request), -EINVAL);
    request.bytes = info.xsave_bytes - 1;
    expect("xsave_too_small", raw::call(vcpu, HWV_XSAVE, &request), -EINVAL);
    request = {info.xsave_bytes, 4, request.buffer};
    expect("xsave_unknown_flag", raw::call(vcpu, HWV_XSAVE, &request), -EINVAL);
}

void check_irqfd(int vm) {
    int event = ::eventfd(0, EFD_CLOEXEC), other = ::eventfd(0, EFD_CLOEXEC);
    auto irqfd = [&](int fd, int resample, std::uint32_t flags) {
        hwv_irqfd request{fd, resample, flags, 0x40, 0xfee00000};
        return raw::call(vm, HWV_IRQFD, &request);
    };
    expect("irqfd_bad_fd", irqfd(-1, -1, 0), -EBADF);
    expect("irqfd_no_eventfd", irqfd(0, -1, 0), -EINVAL);
    expect("irqfd_bad_resample", irqfd(event, -1, HWV_IRQFD_RESAMPLE), -EBADF);
    expect("irqfd_unknown_flag", irqfd(event, -1, 4), -EINVAL);
    expect("irqfd_assign", irqfd(event, other, HWV_IRQFD_RESAMPLE), 0);
    expect("irqfd_twice", irqfd(event, -1, 0), -EBUSY);
    expect("irqfd_deassign", irqfd(event, -1, HWV_IRQFD_DEASSIGN), 0);
    expect("irqfd_deassign_again", irqfd(event, -1, HWV_IRQFD_DEASSIGN), -ENOENT);
    std::vector<int> many;
    long result = 0;
    for (int i = 0; i < HWV_MAX_EVENTFDS && result == 0; ++i) {
        many.push_back(::eventfd(0, EFD_CLOEXEC));
        result = irqfd(many.back(), -1, 0);
    }
    expect("irqfd_as_many_as_allowed", result, 0);
    expect("irqfd_too_many", irqfd(event, -1, 0), -ENOSPC);
    for (int fd : many)
        ::close(fd); // each takes its irqfd along
    for (int tries = 0; tries < 100 && (result = irqfd(event, -1, 0)) == -ENOSPC; ++tries)
        ::usleep(10000);
    expect("irqfd_after_closing", result, 0);
    ::close(event);
    ::close(other);
}

void check_ioeventfd_values(int vm) {
    int event = ::eventfd(0, EFD_CLOEXEC);
    auto io = [&](hwv_ioeventfd request) { return raw::call(vm, HWV_IOEVENTFD, &request); };
    constexpr std::uint32_t pio = HWV_IOEVENTFD_PIO, match = HWV_IOEVENTFD_DATAMATCH;
    expect("ioeventfd_bad_fd", io({.address = 0x1000, .length = 4, .fd = -1}), -EBADF);
    expect("ioeventfd_no_eventfd", io({.address = 0x1000, .length = 4, .fd = 0}), -EINVAL);
    expect("ioeventfd_length", io({.address = 0x1000, .length = 3, .fd = event}), -EINVAL);
    expect("ioeventfd_length_16", io({.address = 0x1000, .length = 16, .fd = event}), -EINVAL);
    expect("ioeventfd_wraps", io({.address = ~0ull, .length = 4, .fd = event}), -EINVAL);
    expect("ioeventfd_port", io({.address = 0xffff, .length = 2, .fd = event, .flags = pio}),
           -EINVAL);
    expect("ioeventfd_unknown_flag", io({.address = 0, .length = 4, .fd = event, .flags = 8}),
           -EINVAL);
    expect("ioeventfd_reserved", io({.address = 0, .length = 4, .fd = event, .reserved = 1}),
           -EINVAL);
    expect("ioeventfd_match_any", io({.address = 0, .datamatch = 1, .fd = event, .flags = match}),
           -EINVAL);
    expect("ioeventfd_match_width",
           io({.datamatch = 256, .length = 1, .fd = event, .flags = match}), -EINVAL);
    ::close(event);
}

void check_ioeventfd_list(int vm) {
    int event = ::eventfd(0, EFD_CLOEXEC);
    auto io = [&](hwv_ioeventfd request) { return raw::call(vm, HWV_IOEVENTFD, &request); };
    constexpr std::uint32_t pio = HWV_IOEVENTFD_PIO, match = HWV_IOEVENTFD_DATAMATCH;
    expect("ioeventfd_assign",
           io({.address = 0x1000, .datamatch = 1, .length = 4, .fd = event, .flags = match}), 0);
    expect("ioeventfd_other_data",
           io({.address = 0x1000, .datamatch = 2, .length = 4, .fd = event, .flags = match}), 0);
    expect("ioeventfd_same_data",
           io({.address = 0x1000, .datamatch = 1, .length = 4, .fd = event, .flags = match}),
           -EEXIST);
    expect("ioeventfd_any_data", io({.address = 0x1000, .length = 4, .fd = event}), -EEXIST);
    expect("ioeventfd_other_length", io({.address = 0x1000, .length = 2, .fd = event}), 0);
    expect("ioeventfd_port_beside_memory",
           io({.address = 0x1000, .length = 4, .fd = event, .flags = pio}), 0);
    hwv_ioeventfd gone{
        .address = 0x1000, .length = 2, .fd = event, .flags = HWV_IOEVENTFD_DEASSIGN};
    expect("ioeventfd_deassign", io(gone), 0);
    expect("ioeventfd_deassign_again", io(gone), -ENOENT);
    long result = 0;
    for (std::uint64_t port = 0; port < HWV_MAX_EVENTFDS - 3 && result == 0; ++port)
        result = io({.address = port, .length = 1, .fd = event, .flags = pio});
    expect("ioeventfd_as_many_as_allowed", result, 0);
    expect("ioeventfd_too_many", io({.address = 0xf000, .length = 1, .fd = event, .flags = pio}),
           -ENOSPC);
    ::close(event);
}

void check_rest(int vm, int vcpu) {
    hwv_msi msi{.address = 0xfee00000, .data = 0x40, .flags = 1};
    expect("msi_flags", raw::call(vm, HWV_MSI, &msi), -EINVAL);
    hwv_clock clock{.ns = 5, .flags = 2};
    expect("clock_unknown_flag", raw::call(vm, HWV_CLOCK, &clock), -EINVAL);
    clock = {.reserved = 1};
    expect("clock_reserved", raw::call(vm, HWV_CLOCK, &clock), -EINVAL);
    hwv_apic_reg apic{.offset = 8};
    expect("apic_offset_unaligned", raw::call(vcpu, HWV_APIC_REG, &apic), -EINVAL);
    apic = {.offset = 0x1000};
    expect("apic_offset_too_large", raw::call(vcpu, HWV_APIC_REG, &apic), -EINVAL);
    apic = {.offset = 0x30, .flags = 2};
    expect("apic_unknown_flag", raw::call(vcpu, HWV_APIC_REG, &apic), -EINVAL);
    apic = {.offset = 0x30, .reserved = 1};
    expect("apic_reserved", raw::call(vcpu, HWV_APIC_REG, &apic), -EINVAL);
    hwv_vcpu_stats stats{};
    expect("stats_mapped", raw::read_stats(vcpu, &stats), 0);
    expect("stats_say_version", stats.version, HWV_STATS_VERSION);
    expect("stats_say_count", stats.reasons, HWV_EXIT_CPU_REASONS);
    void *writable = ::mmap(nullptr, HWV_STATS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu,
                            static_cast<off_t>(HWV_MAP(HWV_MAP_STATS, 0)));
    expect("stats_never_writable", writable == MAP_FAILED ? -errno : 0, -EINVAL);
}

} // namespace

int main() {
    int device = raw::open_device();
    int vm = raw::create_vm(), vcpu = raw::create_vcpu(vm);
    check_create_vm(device);
    check_cpuid(device, vcpu);
    check_create_vcpu(vm);
    check_memory(vm);
    check_dirty_log(vm);
    check_msrs(vcpu);
    check_xsave(device, vcpu);
    check_irqfd(vm);
    check_ioeventfd_values(vm);
    check_ioeventfd_list(vm);
    check_rest(vm, vcpu);
    return verdict();
}
