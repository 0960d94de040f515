// SPDX-License-Identifier: GPL-2.0-only
#include "conformance/machine.hpp"
#include <algorithm>
#include <cstring>
#include <sys/mman.h>
#include "hwv/error.hpp"
#include "oracle/hwv_vm.hpp"

namespace conformance {

HostMemory::HostMemory(std::size_t bytes, bool huge) {
    constexpr std::size_t align = 2u << 20;
    void *at =
        ::mmap(nullptr, bytes + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) hwv::fail("map guest memory");
    mapping_ = hwv::Mapping{at, bytes + align};
    const auto base = (reinterpret_cast<std::uintptr_t>(at) + align - 1) & ~(align - 1);
    bytes_ = {reinterpret_cast<std::uint8_t *>(base), bytes};
    ::madvise(bytes_.data(), bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

Machine::Machine(std::uint64_t flags)
    : vm{oracle::create(system_, flags)}, vcpu{vm.create_vcpu(0)} {
    vm.set_memory(0, 0, 0, memory().size(), memory().data());
    vcpu.set_cpuid(system_.supported_cpuid());
}

Machine::Machine(Mode mode, const Text &code,
                 const std::function<void(hwv_regs &, std::span<std::uint8_t>)> &change)
    : Machine{} {
    start(mode, code.bytes(bits(mode)), change);
}

void Machine::start(Mode mode, const Bytes &code,
                    const std::function<void(hwv_regs &, std::span<std::uint8_t>)> &change) {
    const std::uint64_t apic_base = regs().apic_base;
    hwv_regs r = prepare(memory(), mode);
    std::copy(code.begin(), code.end(), memory().begin() + at_code);
    r.rip = at_code;
    r.apic_base = apic_base;
    if (change) change(r, memory());
    vcpu.regs() = r;
    vcpu.sync(HWV_REGS_GPR | HWV_REGS_SEGMENT | HWV_REGS_CONTROL | HWV_REGS_DEBUG | HWV_REGS_EVENT,
              0);
}

hwv_exit Machine::run() {
    const hwv::RunResult result = vcpu.run();
    vcpu.clear_reply();
    if (result == hwv::RunResult::exited) return vcpu.exit();
    hwv_exit exit{};
    exit.reason = HWV_EXIT_KICKED;
    return exit;
}

std::string Machine::run_to_halt() {
    for (;;) {
        const hwv_exit e = run();
        if (e.reason == HWV_EXIT_HLT) return {};
        if (e.reason != HWV_EXIT_IO)
            return std::string{"left by "} + hwv::exit_name(e.reason) + " at " + hex(regs().rip);
    }
}

hwv_regs Machine::regs() {
    vcpu.sync(0, HWV_REGS_ALL);
    return vcpu.regs();
}

} // namespace conformance
