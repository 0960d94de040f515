// SPDX-License-Identifier: GPL-2.0-only
// timeout: 90
// bed: --count
// Suspend and resume of the machine under a running guest: as far as the kernel's own test mode
// goes, which calls everybody's suspend with irqs off on the last CPU, and turns back there. In a
// bed without its shared file system, which does not survive it.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <thread>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

bool write_file(const char *path, const char *text) {
    std::ofstream file(path);
    file << text << std::flush;
    return file.good();
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("suspend", "this machine cannot run guests");
        return 0;
    }
    write_file("/sys/module/suspend/parameters/pm_test_delay", "0");
    if (!write_file("/sys/power/pm_test", "core")) {
        skip("suspend", "this kernel has no suspend test mode");
        return 0;
    }
    int vm = raw::create_vm();
    raw::map_reset_page(vm, raw::loop_for_ever);
    int vcpu = raw::create_vcpu(vm);
    hwv_run *run = raw::map_run(vcpu);
    std::atomic<int> bad{0};
    std::atomic<bool> stop{false};
    std::thread runner([&] {
        while (!stop) {
            long result = raw::call(vcpu, HWV_RUN); // EINTR: frozen
            if (result != -EINTR && (result != 0 || run->exit.reason != HWV_EXIT_KICKED)) ++bad;
        }
    });
    for (int i = 0; i < 3; ++i) {
        report("suspend_" + std::to_string(i), write_file("/sys/power/state", "mem"),
               "the kernel refused");
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        raw::call(vcpu, HWV_KICK);
    }
    stop = true;
    raw::call(vcpu, HWV_KICK);
    runner.join();
    expect("runs_that_ended_badly", bad, 0);
    return verdict();
}
