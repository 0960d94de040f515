// SPDX-License-Identifier: GPL-2.0-only
#include "hwv/vcpu.hpp"
#include <array>
#include <sys/ioctl.h>
#include "hwv/error.hpp"

namespace hwv {

Vcpu::Vcpu(Fd fd) : fd_{std::move(fd)} {
    void *page =
        ::mmap(nullptr, HWV_RUN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    if (page == MAP_FAILED) fail("map the run page");
    page_ = Mapping{page, HWV_RUN_PAGE_SIZE};
}

RunResult Vcpu::run() {
    if (::ioctl(fd_.get(), HWV_RUN, 0) == 0) return RunResult::exited;
    if (errno == EINTR) return RunResult::interrupted;
    if (errno == ESHUTDOWN) throw Error{ESHUTDOWN, "killed by an observer (hwvctl kill)"};
    fail("run the vCPU");
}

void Vcpu::sync(std::uint32_t dirty, std::uint32_t wanted) {
    page().reply.dirty = dirty;
    page().reply.wanted = wanted;
    if (::ioctl(fd_.get(), HWV_SYNC_REGS, 0) < 0) fail("exchange registers");
    clear_reply();
}

void Vcpu::kick() {
    if (::ioctl(fd_.get(), HWV_KICK, 0) < 0) fail("kick the vCPU");
}

void Vcpu::interrupt(hwv_interrupt_kind kind, std::uint8_t vector) {
    hwv_interrupt request{static_cast<__u32>(kind), vector};
    if (::ioctl(fd_.get(), HWV_INTERRUPT, &request) < 0) fail("interrupt the vCPU");
}

bool Vcpu::try_extint(std::uint8_t vector) {
    hwv_interrupt request{HWV_INTERRUPT_EXTINT, vector};
    if (::ioctl(fd_.get(), HWV_INTERRUPT, &request) == 0) return true;
    if (errno == EEXIST) return false;
    fail("interrupt the vCPU");
}

void Vcpu::set_cpuid(std::span<const hwv_cpuid_entry> entries) {
    hwv_cpuid_table table{};
    table.count = static_cast<__u32>(entries.size());
    table.entries = reinterpret_cast<std::uintptr_t>(entries.data());
    if (::ioctl(fd_.get(), HWV_SET_CPUID, &table) < 0) fail("set the CPUID table");
}

namespace {
void one_msr(int fd, std::uint32_t flags, hwv_msr_entry &entry) {
    hwv_msrs request{};
    request.count = 1;
    request.flags = flags;
    request.entries = reinterpret_cast<std::uintptr_t>(&entry);
    const int done = ::ioctl(fd, HWV_MSRS, &request);
    if (done == 1) return;
    fail((flags & HWV_MSRS_SET ? "set MSR " : "read MSR ") + std::to_string(entry.index),
         done < 0 ? errno : EINVAL);
}
} // namespace

std::uint64_t Vcpu::msr(std::uint32_t index) const {
    hwv_msr_entry entry{index, 0, 0};
    one_msr(fd_.get(), 0, entry);
    return entry.value;
}

void Vcpu::set_msr(std::uint32_t index, std::uint64_t value) {
    hwv_msr_entry entry{index, 0, value};
    one_msr(fd_.get(), HWV_MSRS_SET, entry);
}

std::uint32_t Vcpu::apic_reg(std::uint32_t offset) const {
    hwv_apic_reg request{offset, 0, 0, 0};
    if (::ioctl(fd_.get(), HWV_APIC_REG, &request) < 0) fail("read an APIC register");
    return request.value;
}

void Vcpu::set_apic_reg(std::uint32_t offset, std::uint32_t value) {
    hwv_apic_reg request{offset, value, HWV_APIC_REG_SET, 0};
    if (::ioctl(fd_.get(), HWV_APIC_REG, &request) < 0) fail("set an APIC register");
}

void Vcpu::get_xsave(std::span<std::byte> buffer) const {
    hwv_xsave request{static_cast<__u32>(buffer.size()), 0,
                      reinterpret_cast<std::uintptr_t>(buffer.data())};
    if (::ioctl(fd_.get(), HWV_XSAVE, &request) < 0) fail("read the FPU state");
}

void Vcpu::set_xsave(std::span<const std::byte> buffer) {
    hwv_xsave request{static_cast<__u32>(buffer.size()), HWV_XSAVE_SET,
                      reinterpret_cast<std::uintptr_t>(buffer.data())};
    if (::ioctl(fd_.get(), HWV_XSAVE, &request) < 0) fail("set the FPU state");
}

Stats Vcpu::stats() const { return StatsPage{fd_.get()}.read(); }

} // namespace hwv
