// SPDX-License-Identifier: GPL-2.0-only
#include "hwv/vm.hpp"
#include <sys/ioctl.h>
#include "hwv/error.hpp"

namespace hwv {

void Vm::set_memory(std::uint32_t slot, std::uint32_t flags, std::uint64_t gpa, std::uint64_t size,
                    void *hva) {
    hwv_memory request{slot, flags, gpa, size, reinterpret_cast<std::uintptr_t>(hva)};
    if (::ioctl(fd(), HWV_SET_MEMORY, &request) < 0)
        fail("set memory slot " + std::to_string(slot));
}

void Vm::dirty_log(std::uint32_t slot, std::uint64_t first, std::uint64_t pages,
                   std::span<std::uint64_t> bitmap) {
    if (bitmap.size() < (pages + 63) / 64) throw Error{EINVAL, "the dirty bitmap is too small"};
    hwv_dirty_log request{slot, 0, first, pages, reinterpret_cast<std::uintptr_t>(bitmap.data())};
    if (::ioctl(fd(), HWV_DIRTY_LOG, &request) < 0)
        fail("read the dirty log of slot " + std::to_string(slot));
}

Vcpu Vm::create_vcpu(std::uint32_t id) {
    hwv_create_vcpu request{id, 0};
    Fd vcpu{::ioctl(fd(), HWV_CREATE_VCPU, &request)};
    if (!vcpu) fail("create vCPU " + std::to_string(id));
    return Vcpu{std::move(vcpu)};
}

unsigned Vm::msi(std::uint64_t address, std::uint32_t data) {
    hwv_msi request{address, data, 0};
    const int accepted = ::ioctl(fd(), HWV_MSI, &request);
    if (accepted < 0) fail("deliver an MSI");
    return static_cast<unsigned>(accepted);
}

void Vm::irqfd(const hwv_irqfd &request) {
    if (::ioctl(fd(), HWV_IRQFD, &request) < 0) fail("set an irqfd");
}

void Vm::ioeventfd(const hwv_ioeventfd &request) {
    if (::ioctl(fd(), HWV_IOEVENTFD, &request) < 0) fail("set an ioeventfd");
}

void Vm::eoi_exits(const hwv_eoi_exits &request) {
    if (::ioctl(fd(), HWV_EOI_EXITS, &request) < 0) fail("choose the vectors whose EOI exits");
}

std::uint64_t Vm::clock_ns() const {
    hwv_clock clock{};
    if (::ioctl(fd(), HWV_CLOCK, &clock) < 0) fail("read the VM's clock");
    return clock.ns;
}

void Vm::set_clock_ns(std::uint64_t ns) {
    hwv_clock clock{ns, HWV_CLOCK_SET, 0};
    if (::ioctl(fd(), HWV_CLOCK, &clock) < 0) fail("set the VM's clock");
}

} // namespace hwv
