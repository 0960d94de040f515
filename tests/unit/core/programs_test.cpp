// SPDX-License-Identifier: GPL-2.0-only
// Exit programs in the run loop: what they are told, and what is taken of what they say. The fake's
// program is a function.
#include "core.h"
#include "core/machine.hpp"

namespace hwv::test {
namespace {

struct ProgramsTest : CoreMachine {
    using Program = std::function<void(hwv_program_context &)>;

    void TearDown() override {
        vm->set_programs(nullptr, {});
        CoreMachine::TearDown();
    }
    // One more, of observer slot 2.
    void attach(ExitReason reason, Program program) {
        programs.push_back(std::move(program));
        hwv_program_slot &s = table.entries[table.count];
        s = {.program = reinterpret_cast<hwv_host_program *>(programs.size()),
             .counts = &counts[table.count],
             .reasons = 1ull << reason,
             .observer = 2,
             .reserved = 0};
        ++table.count;
        host.program = [this](hwv_host_program *p, hwv_program_context &c) {
            programs[reinterpret_cast<std::size_t>(p) - 1](c);
        };
        vm->set_programs(&table, {});
        run_and_kick();
        backend().set_rip(0x1000);
    }
    std::uint64_t after(ExitReason reason, std::uint8_t length) {
        backend().set_rip(0x1000);
        exits(reason, length);
        run_and_kick();
        return backend().rip() - 0x1000;
    }
    std::vector<Program> programs;
    hwv_program_table table{};
    hwv_program_counts counts[HWV_MAX_PROGRAMS] = {};
};

TEST_F(ProgramsTest, is_told_the_exit) {
    hwv_program_context seen{};
    attach(HWV_EXIT_CPUID, [&](hwv_program_context &c) { seen = c; });
    vcpu->gprs[HWV_RAX] = 0x4000'0000;
    vcpu->gprs[HWV_RCX] = 7;
    vcpu->gprs[HWV_R15] = 15;
    EXPECT_EQ(after(HWV_EXIT_CPUID, 2), 2u);
    EXPECT_EQ(seen.reason, unsigned{HWV_EXIT_CPUID});
    EXPECT_EQ(seen.key, 0x4000'0000u);
    EXPECT_EQ(seen.data, 7u);
    EXPECT_EQ(seen.rip, 0x1000u);
    EXPECT_EQ(seen.gpr[HWV_R15], 15u);
    EXPECT_EQ(seen.rflags, rflags::fixed);
    EXPECT_FALSE(seen.decided || seen.action || seen.gprs || seen.ack);
    EXPECT_EQ(counts[0].runs, 1u);
    EXPECT_EQ(counts[0].acted + counts[0].refused + counts[0].acked, 0u);
    after(HWV_EXIT_PAUSE, 2);
    EXPECT_EQ(counts[0].runs, 1u);
}

TEST_F(ProgramsTest, each_has_a_context_of_its_own) {
    attach(HWV_EXIT_CPUID, [](hwv_program_context &c) {
        std::fill_n(reinterpret_cast<unsigned char *>(&c), offsetof(hwv_program_context, action),
                    0xff);
        c.ack = 1;
    });
    hwv_program_context seen{};
    attach(HWV_EXIT_CPUID, [&](hwv_program_context &c) { seen = c; });
    vcpu->gprs[HWV_RBX] = 3;
    EXPECT_EQ(after(HWV_EXIT_CPUID, 2), 2u);
    EXPECT_EQ(seen.rip, 0x1000u);
    EXPECT_EQ(seen.gpr[HWV_RBX], 3u);
    EXPECT_EQ(counts[0].acked, 1u);
}

TEST_F(ProgramsTest, registers_are_taken_by_name_before_the_exit_is_served) {
    attach(HWV_EXIT_MSR_READ, [](hwv_program_context &c) {
        c.gpr[HWV_RCX] = cpu::msr::apic_base;
        c.gpr[HWV_RBX] = 99;
        c.gprs = 1u << HWV_RCX;
    });
    vcpu->gprs[HWV_RBX] = 1;
    vcpu->gprs[HWV_RCX] = 0x1234'5678;
    EXPECT_EQ(after(HWV_EXIT_MSR_READ, 2), 2u);
    EXPECT_EQ(vcpu->edx_eax(), vcpu->apic.base());
    EXPECT_EQ(vcpu->gprs[HWV_RBX], 1u);
    EXPECT_EQ(counts[0].acted, 1u);
}

TEST_F(ProgramsTest, the_first_that_decides_does) {
    attach(HWV_EXIT_RDTSC, [](hwv_program_context &c) {
        c.action = HWV_ACTION_ANSWER;
        c.value[0] = 0x5'0000'0006;
    });
    bool decided = false;
    attach(HWV_EXIT_RDTSC, [&](hwv_program_context &c) {
        decided = c.decided;
        c.action = HWV_ACTION_INJECT;
        c.vector = vector::invalid_opcode;
        c.gprs = 0xffff;
    });
    EXPECT_EQ(after(HWV_EXIT_RDTSC, 2), 2u);
    EXPECT_TRUE(decided);
    EXPECT_EQ(vcpu->gprs[HWV_RAX], 6u);
    EXPECT_EQ(vcpu->gprs[HWV_RDX], 5u);
    EXPECT_EQ(counts[1].runs, 1u);
    EXPECT_EQ(counts[1].acted + counts[1].refused, 0u);
}

TEST_F(ProgramsTest, what_cannot_be_is_refused_as_a_whole) {
    const std::function<void(hwv_program_context &)> bad[] = {
        [](auto &c) { c.action = HWV_ACTION_STOP + 1; },
        [](auto &c) { c.gprs |= 1u << 16; },
        [](auto &c) { c.flags = 2; },
        [](auto &c) { c.action = HWV_ACTION_ANSWER; }, // HLT has no answer
        [](auto &c) {
            c.action = HWV_ACTION_INJECT;
            c.vector = 256 + vector::invalid_opcode;
        },
        [](auto &c) {
            c.action = HWV_ACTION_INJECT;
            c.vector = vector::general_protection;
        },
    };
    std::uint64_t refused = 0;
    const std::function<void(hwv_program_context &)> *now = nullptr;
    make(HWV_VM_HLT_TO_USER);
    attach(HWV_EXIT_HLT, [&](hwv_program_context &c) {
        c.gpr[HWV_RDI] = 1;
        c.gprs = 1u << HWV_RDI;
        (*now)(c);
    });
    for (const auto &what : bad) {
        now = &what;
        vcpu->gprs[HWV_RDI] = 0;
        exits(HWV_EXIT_HLT, 1);
        ASSERT_EQ(run(), 0);
        EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_HLT});
        EXPECT_EQ(vcpu->gprs[HWV_RDI], 0u);
        EXPECT_EQ(counts[0].refused, ++refused);
    }
    EXPECT_EQ(counts[0].acted, 0u);
}

} // namespace
} // namespace hwv::test
