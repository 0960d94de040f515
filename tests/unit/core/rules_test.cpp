// SPDX-License-Identifier: GPL-2.0-only
// Exits that rules decide, in the run loop: what the guest sees, and where it goes on.
#include "core/machine.hpp"

namespace hwv::test {
namespace {

using instrument::Policy;

struct RulesTest : CoreMachine {
    static constexpr std::uint64_t start = 0x1000;

    void TearDown() override {
        if (vm) vm->set_policy(slot, nullptr);
        policy.reset();
        CoreMachine::TearDown();
    }
    void rules(std::vector<hwv_rule> list) {
        auto next = std::make_unique<Policy>(age, 100);
        instrument::RuleFault fault;
        ASSERT_TRUE(
            next->set(list.data(), static_cast<std::uint32_t>(list.size()), every_trap, fault));
        vm->set_policy(slot, next.get());
        policy = std::move(next);
        run_and_kick();
        backend().set_rip(start);
        backend().rip_moves = 0;
    }
    void rule(hwv_exit_reason reason, hwv_action action, std::uint64_t value = 0,
              std::uint64_t second = 0) {
        hwv_rule r{};
        r.reason = reason;
        r.action = action;
        r.value[0] = value;
        r.value[1] = second;
        rules({r});
    }
    std::uint64_t after(const Exit &exit, std::initializer_list<std::uint8_t> bytes = {}) {
        backend().set_rip(start);
        exits(exit, bytes);
        run_and_kick();
        return backend().rip() - start;
    }
    std::uint64_t after(ExitReason reason, std::uint8_t length) {
        return after(Exit{.reason = reason, .length = length});
    }
    Event last() { return backend().delivered.back(); }
    hwv_rule_counts counts() { return policy->counts(0); }

    static constexpr unsigned slot = 3;
    static constexpr std::uint64_t age = 9;
    std::unique_ptr<Policy> policy;
};

TEST_F(RulesTest, counting_changes_nothing) {
    vcpu->gprs[HWV_RAX] = 0x4000'0000;
    EXPECT_EQ(after(HWV_EXIT_CPUID, 2), 2u);
    const std::uint64_t answer = vcpu->gprs[HWV_RBX];
    rule(HWV_EXIT_CPUID, HWV_ACTION_COUNT);
    for (unsigned i = 0; i < 3; ++i) {
        vcpu->gprs[HWV_RAX] = 0x4000'0000;
        EXPECT_EQ(after(HWV_EXIT_CPUID, 2), 2u);
        EXPECT_EQ(vcpu->gprs[HWV_RBX], answer);
    }
    EXPECT_EQ(counts().matched, 3u);
    vm->set_policy(slot, nullptr);
    run_and_kick();
    EXPECT_FALSE(vcpu->armed);
    after(HWV_EXIT_CPUID, 2);
    EXPECT_EQ(counts().matched, 3u);
}

TEST_F(RulesTest, cpuid_is_answered) {
    rule(HWV_EXIT_CPUID, HWV_ACTION_ANSWER, 0x2222'2222'1111'1111, 0x4444'4444'3333'3333);
    EXPECT_EQ(after(HWV_EXIT_CPUID, 2), 2u);
    EXPECT_EQ(vcpu->gprs[HWV_RAX], 0x1111'1111u);
    EXPECT_EQ(vcpu->gprs[HWV_RBX], 0x2222'2222u);
    EXPECT_EQ(vcpu->gprs[HWV_RCX], 0x3333'3333u);
    EXPECT_EQ(vcpu->gprs[HWV_RDX], 0x4444'4444u);
}

TEST_F(RulesTest, what_reads_edx_eax_is_answered) {
    for (ExitReason reason : {HWV_EXIT_RDTSC, HWV_EXIT_RDPMC, HWV_EXIT_MSR_READ}) {
        rule(reason, HWV_ACTION_ANSWER, 0x1234'5678'9abc'def0);
        EXPECT_EQ(after(reason, 2), 2u);
        EXPECT_EQ(vcpu->gprs[HWV_RAX], 0x9abc'def0u);
        EXPECT_EQ(vcpu->gprs[HWV_RDX], 0x1234'5678u);
    }
    backend().msrs[0xc000'0103] = 5;
    rule(HWV_EXIT_RDTSCP, HWV_ACTION_ANSWER, 1);
    EXPECT_EQ(after(HWV_EXIT_RDTSCP, 3), 3u);
    EXPECT_EQ(vcpu->gprs[HWV_RCX], 5u);
}

TEST_F(RulesTest, ports_are_answered_and_swallowed) {
    rule(HWV_EXIT_IO, HWV_ACTION_ANSWER, 0xabcd);
    vcpu->gprs[HWV_RAX] = ~0ull;
    EXPECT_EQ(after(io_exit(false, 1)), 1u);
    EXPECT_EQ(vcpu->gprs[HWV_RAX], 0xffff'ffff'ffff'ffcdu);
    EXPECT_EQ(after(io_exit(true, 2)), 1u); // would have left to user
}

TEST_F(RulesTest, control_and_debug_registers_are_answered_and_not_written) {
    rule(HWV_EXIT_CR_READ, HWV_ACTION_ANSWER, 0xaaaa);
    Exit exit{.reason = HWV_EXIT_CR_READ, .length = 3};
    exit.reg = {.number = 3,
                .gpr = HWV_RBX,
                .write = false,
                .decoded = true,
                .lmsw = false,
                .clts = false,
                .source = 0};
    EXPECT_EQ(after(exit), 3u);
    EXPECT_EQ(vcpu->gprs[HWV_RBX], 0xaaaau);
    exit.reg.decoded = false; // mov rsi, cr3
    EXPECT_EQ(after(exit, {0x0f, 0x20, 0xde}), 3u);
    EXPECT_EQ(vcpu->gprs[HWV_RSI], 0xaaaau);
    rule(HWV_EXIT_DR_ACCESS, HWV_ACTION_ANSWER, 0xbbbb);
    exit.reason = HWV_EXIT_DR_ACCESS;
    exit.reg.decoded = true;
    EXPECT_EQ(after(exit), 3u);
    EXPECT_EQ(vcpu->gprs[HWV_RBX], 0xbbbbu);
    exit.reg.write = true;
    EXPECT_EQ(after(exit), 3u);
    EXPECT_EQ(backend().debug(3), 0u);
    rule(HWV_EXIT_CR_WRITE, HWV_ACTION_ANSWER);
    exit.reason = HWV_EXIT_CR_WRITE;
    EXPECT_EQ(after(exit), 3u);
    EXPECT_EQ(backend().cr3(), 0u);
}

TEST_F(RulesTest, a_skipped_instruction_does_nothing) {
    rule(HWV_EXIT_HLT, HWV_ACTION_SKIP);
    EXPECT_EQ(after(HWV_EXIT_HLT, 1), 1u);
    EXPECT_EQ(vcpu->mp_state, HWV_MP_RUNNING);
    rule(HWV_EXIT_DESCRIPTOR, HWV_ACTION_SKIP);
    EXPECT_EQ(after(Exit{.reason = HWV_EXIT_DESCRIPTOR}, {0x0f, 0x01, 0x07}), 3u); // sgdt [rdi]
    EXPECT_EQ(backend().lifted, HWV_EXIT_NONE);
}

TEST_F(RulesTest, an_injected_fault_arrives_at_the_instruction) {
    hwv_rule r{};
    r.reason = HWV_EXIT_CPUID;
    r.action = HWV_ACTION_INJECT;
    r.vector = 14;
    r.flags = HWV_RULE_ERROR_CODE;
    r.error_code = 6;
    r.value[0] = 0xdead'0000;
    rules({r});
    EXPECT_EQ(after(HWV_EXIT_CPUID, 2), 0u);
    EXPECT_EQ(last(), exception(14, 6));
    EXPECT_EQ(backend().cr2(), 0xdead'0000u);
    EXPECT_TRUE(backend().rflags() & rflags::rf);
}

TEST_F(RulesTest, an_exception_becomes_another_and_a_double_fault_stays_one) {
    hwv_rule r{};
    r.reason = HWV_EXIT_EXCEPTION;
    r.action = HWV_ACTION_INJECT;
    r.vector = 13;
    r.flags = HWV_RULE_ERROR_CODE;
    rules({r});
    Exit exit{.reason = HWV_EXIT_EXCEPTION};
    exit.exception = {.vector = 6,
                      .has_error_code = false,
                      .software_length = 0,
                      .error_code = 0,
                      .address = 0,
                      .dr6 = 0};
    after(exit);
    EXPECT_EQ(last(), exception(13, 0));
    exit.delivering = exception(11, 0);
    after(exit);
    EXPECT_EQ(last(), exception(8, 0));
}

// ---- stops ----

struct StopsTest : RulesTest {
    void SetUp() override {
        RulesTest::SetUp();
        rule(HWV_EXIT_CPUID, HWV_ACTION_STOP);
    }
    // What the observer does while the vCPU waits.
    template <typename F>
    void at_stop(F what) {
        host.stopped = [this, what] {
            ASSERT_TRUE(vcpu->stopped(age, stop));
            what();
        };
    }
    Status reply(hwv_stop_reply r) {
        r.id = stop.id;
        return vcpu->go_on(age, r);
    }
    hwv_stop stop{};
};

TEST_F(StopsTest, the_observer_answers) {
    vcpu->gprs[HWV_RAX] = 7;
    at_stop([&] {
        EXPECT_EQ(stop.reason, unsigned{HWV_EXIT_CPUID});
        EXPECT_EQ(stop.key, 7u);
        EXPECT_EQ(stop.rip, start);
        EXPECT_FALSE(vcpu->stop_ends());
        EXPECT_TRUE(reply({.action = HWV_STOP_ANSWER, .value = {1, 2}}));
        EXPECT_TRUE(vcpu->stop_ends());
        EXPECT_EQ(reply({}).error(), Error::stale);
    });
    EXPECT_EQ(after(HWV_EXIT_CPUID, 2), 2u);
    EXPECT_EQ(vcpu->gprs[HWV_RAX], 1u);
    EXPECT_EQ(vcpu->gprs[HWV_RCX], 2u);
}

TEST_F(StopsTest, where_nothing_is_counted_a_stop_is_none_either) {
    vm->set_policy(slot, nullptr);
    host.facts.statistics = 0;
    make(0);
    rule(HWV_EXIT_CPUID, HWV_ACTION_STOP);
    bool stopped = false;
    at_stop([&] { stopped = true; });
    EXPECT_EQ(after(HWV_EXIT_CPUID, 2), 2u);
    EXPECT_TRUE(stopped);
    EXPECT_EQ(vcpu->statistics.page(), nullptr);
}

TEST_F(StopsTest, nobody_says_anything) {
    vcpu->gprs[HWV_RAX] = 0x4000'0000;
    EXPECT_EQ(after(HWV_EXIT_CPUID, 2), 2u);
    EXPECT_EQ(vcpu->gprs[HWV_RAX] >> 16, 0x4000u);
    EXPECT_EQ(reply({}).error(), Error::stale);
}

TEST_F(StopsTest, a_reply_that_makes_no_sense_leaves_it_waiting) {
    at_stop([&] {
        EXPECT_EQ(reply({.action = HWV_STOP_INJECT, .vector = 2}).error(), Error::invalid);
        EXPECT_EQ(reply({.action = 9}).error(), Error::invalid);
        EXPECT_FALSE(vcpu->stop_ends());
        EXPECT_TRUE(reply({.action = HWV_STOP_INJECT, .vector = 6}));
    });
    EXPECT_EQ(after(HWV_EXIT_CPUID, 2), 0u);
    EXPECT_EQ(last(), exception(6));
}

TEST_F(StopsTest, where_the_observer_moved_rip_the_exit_is_forgotten) {
    at_stop([&] {
        backend().set_rip(start + 100);
        EXPECT_TRUE(reply({.action = HWV_STOP_ANSWER}));
    });
    vcpu->gprs[HWV_RAX] = 7;
    EXPECT_EQ(after(HWV_EXIT_CPUID, 2), 100u);
    EXPECT_EQ(vcpu->gprs[HWV_RAX], 7u);
}

// A vCPU may have met a rule whose observer has ended since, and another one has his slot.
TEST_F(StopsTest, who_has_the_slot_now_is_not_told) {
    at_stop([&] {
        hwv_stop stop{};
        EXPECT_FALSE(vcpu->stopped(age + 1, stop));
        EXPECT_EQ(vcpu->go_on(age + 1, {.id = stop.id}).error(), Error::stale);
        EXPECT_FALSE(vcpu->stop_ends());
    });
    EXPECT_EQ(after(HWV_EXIT_CPUID, 2), 2u);
}

TEST_F(StopsTest, kicks_and_the_observers_end_end_it) {
    at_stop([&] {
        vcpu->ask(request::event);
        EXPECT_FALSE(vcpu->stop_ends());
        vcpu->let_go(age + 1);
        EXPECT_FALSE(vcpu->stop_ends());
        vcpu->let_go(age);
        EXPECT_TRUE(vcpu->stop_ends());
    });
    EXPECT_EQ(after(HWV_EXIT_CPUID, 2), 2u);
    at_stop([&] {
        vcpu->ask(request::kick);
        EXPECT_TRUE(vcpu->stop_ends());
    });
    backend().set_rip(start);
    exits(HWV_EXIT_CPUID, 2);
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_KICKED});
    EXPECT_EQ(backend().rip(), start + 2);
}

} // namespace
} // namespace hwv::test
