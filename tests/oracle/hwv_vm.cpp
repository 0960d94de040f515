// SPDX-License-Identifier: GPL-2.0-only
// hwv_vm.cpp - TestVm on /dev/hwv.
#include <cerrno>
#include <optional>
#include <sys/ioctl.h>
#include "assist/task_switch.hpp"
#include "hwv/error.hpp"
#include "oracle/hwv_vm.hpp"
#include "oracle/test_vm.hpp"

namespace oracle {

hwv::Vm create(const hwv::System &system, std::uint64_t flags, bool ride) {
    if (ride) return system.create_vm("test", flags);
    try {
        return system.create_vm("test", flags, hwv::Tenure::own);
    } catch (const hwv::Error &e) {
        // EOPNOTSUPP: VMX on a kernel that lets nobody but KVM switch it on.
        if (e.code() != EBUSY && e.code() != EOPNOTSUPP) throw;
        return system.create_vm("test", flags);
    }
}

namespace {

std::uint64_t flags_of(const Options &o) {
    return (o.hlt_to_user ? HWV_VM_HLT_TO_USER : 0) | (o.apic ? 0 : HWV_VM_NO_APIC);
}

// hwv::Error as a Failure, so that tests need to know one kind.
template <typename Call>
auto failing(Call call) {
    try {
        return call();
    } catch (const hwv::Error &e) {
        throw Failure{e.code(), e.what()};
    }
}

// Slot 0, for what hwv leaves to user whole.
class Memory final : public assist::PhysicalMemory {
  public:
    explicit Memory(std::span<std::uint8_t> bytes) : bytes_{std::as_writable_bytes(bytes)} {}
    std::byte *ram(std::uint64_t gpa, std::size_t size, bool) override {
        const bool inside = gpa <= bytes_.size() && size <= bytes_.size() - gpa;
        return inside ? bytes_.data() + gpa : nullptr;
    }
    std::uint64_t mmio_read(std::uint64_t, unsigned) override { return ~std::uint64_t{0}; }
    void mmio_write(std::uint64_t, unsigned, std::uint64_t) override {}

  private:
    std::span<std::byte> bytes_;
};

class HwvVm final : public TestVm {
  public:
    explicit HwvVm(const Options &o)
        : vm_{create(system_, flags_of(o), o.ride)}, vcpu_{vm_.create_vcpu(0)} {
        allocate(o);
        vm_.set_memory(0, 0, 0, memory_.size(), memory_.data());
        vcpu_.set_cpuid(system_.supported_cpuid());
        if (o.trapped) trapper_.emplace();
    }

    hwv_regs regs() override {
        failing([&] { vcpu_.sync(0, HWV_REGS_ALL); });
        return vcpu_.regs();
    }
    void set_regs(const hwv_regs &regs, std::uint32_t groups) override {
        vcpu_.regs() = regs;
        failing([&] { vcpu_.sync(groups, 0); });
    }
    hwv_exit run() override {
        for (;;) {
            const hwv::RunResult result = failing([&] { return vcpu_.run(); });
            vcpu_.clear_reply();
            if (result == hwv::RunResult::interrupted) {
                hwv_exit exit{};
                exit.reason = HWV_EXIT_KICKED;
                return exit;
            }
            if (vcpu_.exit().reason != HWV_EXIT_TASK_SWITCH) return vcpu_.exit();
            switch_task();
        }
    }
    void reply(std::uint64_t data) override { vcpu_.reply().data = data; }

    std::uint64_t run_to_halt() override {
        const int fd = vcpu_.fd();
        for (std::uint64_t exits = 1;; ++exits) {
            if (::ioctl(fd, HWV_RUN, 0) < 0 && errno != EINTR) throw Failure{errno, "HWV_RUN"};
            const hwv_exit &e = vcpu_.exit();
            if (e.reason == HWV_EXIT_HLT) return exits;
            if (e.reason != HWV_EXIT_IO && e.reason != HWV_EXIT_MMIO)
                throw Failure{0, std::string{"unexpected exit "} + hwv::exit_name(e.reason)};
        }
    }

    bool inject(std::uint8_t vector) override {
        return failing([&] { return vcpu_.try_extint(vector); });
    }
    void nmi() override {
        failing([&] { vcpu_.interrupt(HWV_INTERRUPT_NMI); });
    }
    void msi(std::uint64_t address, std::uint32_t data) override {
        failing([&] { vm_.msi(address, data); });
    }
    std::uint64_t msr(std::uint32_t index) override {
        return failing([&] { return vcpu_.msr(index); });
    }
    void set_msr(std::uint32_t index, std::uint64_t value) override {
        failing([&] { vcpu_.set_msr(index, value); });
    }
    void add_slot(std::uint32_t slot, std::uint64_t gpa, std::span<std::uint8_t> host,
                  bool read_only) override {
        failing([&] {
            vm_.set_memory(slot, read_only ? HWV_MEMORY_READONLY : 0, gpa, host.size(),
                           host.data());
        });
    }
    void remove_slot(std::uint32_t slot) override {
        failing([&] { vm_.delete_memory(slot); });
    }
    void xsave(std::span<std::uint8_t> area, bool set) override {
        const auto bytes = std::as_writable_bytes(area);
        failing([&] { set ? vcpu_.set_xsave(bytes) : vcpu_.get_xsave(bytes); });
    }

  private:
    // KVM does this in the kernel, and AMD's CPUs do it by themselves: no exit for the test.
    void switch_task() {
        const hwv_exit exit = vcpu_.exit();
        Memory memory{memory_};
        const auto outcome =
            assist::switch_task(vcpu_.regs(), {.memory = memory}, exit.task, exit.next_rip);
        if (outcome.status == assist::Status::unsupported) throw Failure{0, outcome.problem};
        vcpu_.reply().dirty = outcome.dirty;
    }

    hwv::System system_;
    hwv::Vm vm_;
    hwv::Vcpu vcpu_;
    std::optional<Trapper> trapper_;
};

} // namespace

std::unique_ptr<TestVm> make_hwv(const Options &options) {
    return failing([&] { return std::make_unique<HwvVm>(options); });
}

} // namespace oracle
