// SPDX-License-Identifier: GPL-2.0-only
// vm.hpp - one VM: its memory slots, interrupts and vCPUs. Every call throws Error on failure.
#pragma once
#include <cstdint>
#include <span>
#include "hwv.h"
#include "hwv/fd.hpp"
#include "hwv/vcpu.hpp"

namespace hwv {

class Vm {
  public:
    explicit Vm(Fd fd) : fd_{std::move(fd)} {}

    void set_memory(std::uint32_t slot, std::uint32_t flags, std::uint64_t gpa, std::uint64_t size,
                    void *hva);
    void delete_memory(std::uint32_t slot) { set_memory(slot, 0, 0, 0, nullptr); }
    void dirty_log(std::uint32_t slot, std::uint64_t first, std::uint64_t pages,
                   std::span<std::uint64_t> bitmap);
    Vcpu create_vcpu(std::uint32_t id);
    unsigned msi(std::uint64_t address, std::uint32_t data); // vCPUs that accepted
    void irqfd(const hwv_irqfd &request);
    void ioeventfd(const hwv_ioeventfd &request);
    void eoi_exits(const hwv_eoi_exits &request);
    std::uint64_t clock_ns() const;
    void set_clock_ns(std::uint64_t ns);

    int fd() const { return fd_.get(); }

  private:
    Fd fd_;
};

} // namespace hwv
