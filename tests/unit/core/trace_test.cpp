// SPDX-License-Identifier: GPL-2.0-only
// Tracepoints fire once for what happened, in its order, with what was known then.
#include "core/machine.hpp"

namespace {

using namespace hwv;
using namespace hwv::test;

class Trace : public CoreMachine {
  protected:
    void SetUp() override {
        CoreMachine::SetUp();
        hwv::fake::hardware().tracing = true;
    }
    // What was told, without the run that a kick ended.
    std::vector<std::string> told() {
        const auto all = std::exchange(host.traced, {});
        const auto last = std::find(all.rbegin(), all.rend(), "entry@" + rip());
        return {all.begin(), last == all.rend() ? all.end() : last.base() - 1};
    }
    std::string rip() { return std::to_string(backend().rip()); }
};

using Lines = std::vector<std::string>;

TEST_F(Trace, a_quick_exit_and_one_that_is_not) {
    exits(HWV_EXIT_CPUID, 2);
    exits(HWV_EXIT_PAUSE, 2);
    run_and_kick();
    EXPECT_EQ(told(), (Lines{"entry@4096", "exit 6@4096", "cpuid 0 13@4096", "entry@4098",
                             "exit 24@4098"}));
}

TEST_F(Trace, an_injected_event_comes_before_its_entry) {
    exits(HWV_EXIT_RDPMC, 2);
    run_and_kick();
    EXPECT_EQ(told(), (Lines{"entry@4096", "exit 18@4096", "inject 13@4096"}));
}

TEST_F(Trace, an_event_is_told_once_though_the_entry_waits) {
    exits(HWV_EXIT_RDPMC, 2);
    does([this](FakeBackend &, Gprs &) {
        host.works = 0;
        vcpu->ask(request::kick);
        return RawExit{Exit{.reason = HWV_EXIT_HOST_INTERRUPT}, {}};
    });
    backend().script.front() = [this, first = backend().script.front()](FakeBackend &b, Gprs &g) {
        host.works = 3;
        return first(b, g);
    };
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(std::count(host.traced.begin(), host.traced.end(), "inject 13@4096"), 1);
}

TEST_F(Trace, io_with_its_data) {
    vcpu->gprs[HWV_RAX] = 0x1234;
    exits(io_exit(true, 1));
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(host.traced,
              (Lines{"entry@4096", "exit 7@4096", "out 1016 52@4096", "user 7 0@4097"}));
    host.traced.clear();
    exits(io_exit(false, 1));
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(host.traced, (Lines{"entry@4097", "exit 7@4097", "user 7 0@4097"}));
    host.traced.clear();
    run_and_kick({.data = 0xabcd});
    EXPECT_EQ(told(), (Lines{"in 1016 205@4097"}));
}

TEST_F(Trace, msrs_done_and_refused) {
    vcpu->gprs[HWV_RCX] = cpu::msr::apic_base;
    exits(HWV_EXIT_MSR_READ, 2);
    run_and_kick();
    EXPECT_EQ(told(), (Lines{"entry@4096", "exit 8@4096",
                             "rdmsr 27 " + std::to_string(vcpu->apic.base()) + "@4096"}));
    vcpu->gprs[HWV_RCX] = 0x1234'5678;
    vcpu->gprs[HWV_RAX] = 7;
    vcpu->gprs[HWV_RDX] = 0;
    exits(HWV_EXIT_MSR_WRITE, 2);
    run_and_kick();
    EXPECT_EQ(told(), (Lines{"entry@4098", "exit 9@4098", "refused wrmsr 305419896 7@4098",
                             "inject 13@4098"}));
}

TEST_F(Trace, nothing_while_it_is_off) {
    hwv::fake::hardware().tracing = false;
    exits(HWV_EXIT_CPUID, 2);
    run_and_kick();
    EXPECT_TRUE(host.traced.empty());
}

} // namespace
