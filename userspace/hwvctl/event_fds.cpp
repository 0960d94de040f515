// SPDX-License-Identifier: GPL-2.0-only
#include "hwvctl/event_fds.hpp"
#include "hwv/error.hpp"

namespace hwvctl {
namespace {

hwv_ioeventfd doorbell(int fd, const machine::Doorbell &where, std::uint32_t flags) {
    return {where.address, 0, 0, fd, flags | (where.port ? HWV_IOEVENTFD_PIO : 0), 0};
}

template <typename Call>
bool done(Call call) {
    try {
        call();
        return true;
    } catch (const hwv::Error &) { // too many, or the VM is gone: the device does without
        return false;
    }
}

} // namespace

bool KernelEvents::connect_message(int fd, std::uint64_t address, std::uint32_t data) noexcept {
    return done([&] { vm_.irqfd({fd, -1, 0, data, address}); });
}

void KernelEvents::disconnect_message(int fd) noexcept {
    done([&] { vm_.irqfd({fd, -1, HWV_IRQFD_DEASSIGN, 0, 0}); });
}

bool KernelEvents::connect_doorbell(int fd, const machine::Doorbell &where) noexcept {
    return done([&] { vm_.ioeventfd(doorbell(fd, where, 0)); });
}

void KernelEvents::disconnect_doorbell(int fd, const machine::Doorbell &where) noexcept {
    done([&] { vm_.ioeventfd(doorbell(fd, where, HWV_IOEVENTFD_DEASSIGN)); });
}

} // namespace hwvctl
