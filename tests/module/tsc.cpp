// SPDX-License-Identifier: GPL-2.0-only
// timeout: 60
// A guest's time stamp counter at a frequency of its own (hwv_create_vm.tsc_khz), where the CPU
// scales; where not, a refusal.
#include <cerrno>
#include <cstring>
#include <sys/ioctl.h>
#include <unistd.h>
#include <x86intrin.h>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

// rdtsc; out %al, $0x80; jmp to the begin
const std::string ask_for_ever = "\x0f\x31\xe6\x80\xeb\xfa";

struct Reading {
    std::uint64_t before, guest, after; // host, guest, host
};

long create(std::uint32_t khz) {
    const int device = raw::open_device();
    const hwv_create_vm request{.tsc_khz = khz};
    const long vm = raw::call(device, HWV_CREATE_VM, &request);
    ::close(device);
    return vm;
}

hwv_info info() {
    hwv_info out{};
    const int device = raw::open_device();
    raw::call(device, HWV_GET_INFO, &out);
    ::close(device);
    return out;
}

Reading read(int vcpu, hwv_run *run) {
    run->reply.wanted = HWV_REGS_GPR;
    Reading r{.before = __rdtsc()};
    long result;
    do
        result = raw::call(vcpu, HWV_RUN);
    while (result == -EINTR);
    r.after = __rdtsc();
    const auto *gpr = run->regs.gpr;
    r.guest = gpr[HWV_RDX] << 32 | (gpr[HWV_RAX] & 0xffff'ffff);
    return r;
}

// Between two readings the guest's counter moves as often as the host's, times `factor`, give or
// take what passed on the way.
void check(const std::string &name, std::uint32_t khz, double factor) {
    const long vm = create(khz);
    if (vm < 0) return report(name, false, std::strerror(static_cast<int>(-vm)));
    raw::map_program(static_cast<int>(vm), ask_for_ever);
    const int vcpu = raw::create_vcpu(static_cast<int>(vm));
    hwv_run *run = raw::map_run(vcpu);
    read(vcpu, run); // pages come in
    const Reading first = read(vcpu, run);
    ::usleep(20'000);
    const Reading last = read(vcpu, run);
    const double moved = static_cast<double>(last.guest - first.guest);
    const double least = factor * static_cast<double>(last.before - first.after);
    const double most = factor * static_cast<double>(last.after - first.before);
    report(name, moved >= least * 0.999 && moved <= most * 1.001,
           std::to_string(moved) + " is not in " + std::to_string(least) + " to " +
               std::to_string(most));
    ::close(static_cast<int>(vm));
}

} // namespace

int main() {
    const hwv_info about = info();
    const std::uint32_t khz = about.tsc_khz;
    check("tsc/as_host", 0, 1);
    check("tsc/as_host_by_name", khz, 1);
    if (about.features & HWV_FEATURE_TSC_SCALING) {
        check("tsc/twice", 2 * khz, 2);
        check("tsc/two_thirds", 2 * khz / 3, 2 / 3.0);
        expect("tsc/too_slow", create(999), -EINVAL);
    } else {
        expect("tsc/refused", create(2 * khz), -ENODEV);
        skip("tsc/scaled", "this CPU does not scale");
    }
    return verdict();
}
