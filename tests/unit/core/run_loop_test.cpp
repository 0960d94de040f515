// SPDX-License-Identifier: GPL-2.0-only
// HWV_RUN over a scripted vendor: where RIP goes, and what the user's reply completes.
#include <numeric>
#include "core/machine.hpp"

namespace {

using namespace hwv;
using namespace hwv::test;

class RunLoop : public CoreMachine {
  protected:
    std::uint64_t rip() { return backend().rip(); }
    std::uint64_t &gpr(unsigned n) { return vcpu->gprs[n]; }
};

TEST_F(RunLoop, an_instruction_moves_rip_once) {
    for (const ExitReason reason :
         {HWV_EXIT_CPUID, HWV_EXIT_RDTSC, HWV_EXIT_RDTSCP, HWV_EXIT_INVLPG, HWV_EXIT_INVD,
          HWV_EXIT_WBINVD, HWV_EXIT_PAUSE}) {
        backend().rip_ = 0x1000;
        backend().rip_moves = 0;
        exits(reason, 3);
        run_and_kick();
        EXPECT_EQ(rip(), 0x1003u) << reason;
        EXPECT_EQ(backend().rip_moves, 1u) << reason;
    }
}

TEST_F(RunLoop, what_is_no_instruction_leaves_rip) {
    for (const ExitReason reason :
         {HWV_EXIT_HOST_INTERRUPT, HWV_EXIT_HOST_NMI, HWV_EXIT_INTERRUPT_WINDOW,
          HWV_EXIT_NMI_WINDOW, HWV_EXIT_DR_ACCESS, HWV_EXIT_TIMER}) {
        exits(reason, 3);
        run_and_kick();
        EXPECT_EQ(backend().rip_moves, 0u) << reason;
    }
}

TEST_F(RunLoop, rip_wraps_outside_64_bit_code) {
    backend().segments_[HWV_CS].attributes = 0x9b | segment::db;
    backend().rip_ = 0xffff'ffff;
    exits(HWV_EXIT_PAUSE, 2);
    run_and_kick();
    EXPECT_EQ(rip(), 1u);
}

TEST_F(RunLoop, length_is_measured_where_the_cpu_does_not_tell_it) {
    exits(Exit{.reason = HWV_EXIT_CPUID}, {0x0f, 0xa2});
    exits(Exit{.reason = HWV_EXIT_CPUID}, {0x48, 0x66, 0x0f, 0xa2});
    run_and_kick();
    EXPECT_EQ(rip(), 0x1006u);
}

TEST_F(RunLoop, a_rewritten_instruction_is_entered_again) {
    gpr(HWV_RAX) = 0x4000'0000;
    exits(Exit{.reason = HWV_EXIT_CPUID}, {0x90, 0x90});
    run_and_kick();
    EXPECT_EQ(rip(), 0x1000u);
    EXPECT_EQ(gpr(HWV_RAX), 0x4000'0000u);
}

TEST_F(RunLoop, completion_ends_shadow_and_rf_and_traps_with_tf) {
    backend().shadow_ = HWV_SHADOW_STI;
    backend().rflags_ = rflags::fixed | rflags::rf | rflags::tf;
    exits(HWV_EXIT_PAUSE, 2);
    run_and_kick();
    EXPECT_EQ(backend().shadow(), 0);
    EXPECT_EQ(backend().rflags(), rflags::fixed | rflags::tf);
    EXPECT_EQ(backend().debug(6) & 1u << 14, 1u << 14);
    EXPECT_EQ(delivered(1), exception(vector::debug));
}

// Intel SDM "General-Detect Exception Condition": the handler reaches the debug registers.
TEST_F(RunLoop, a_debug_exception_ends_general_detect) {
    constexpr std::uint64_t general_detect = 1u << 13; // DR6.BD, DR7.GD
    backend().set_debug(7, 0x400 | general_detect);
    Exit exit{.reason = HWV_EXIT_EXCEPTION};
    exit.exception = {.vector = vector::debug, .dr6 = general_detect};
    exits(exit);
    run_and_kick();
    EXPECT_EQ(delivered(1), exception(vector::debug));
    EXPECT_EQ(backend().debug(6) & general_detect, general_detect);
    EXPECT_EQ(backend().debug(7), 0x400u);

    backend().set_debug(7, 0x400 | general_detect); // by a step over what hwv executes
    backend().rflags_ |= rflags::tf;
    exits(HWV_EXIT_CPUID, 2);
    run_and_kick();
    EXPECT_EQ(backend().debug(7), 0x400u);
}

TEST_F(RunLoop, refused_instructions_fault_at_the_same_rip) {
    struct {
        ExitReason reason;
        Event event;
    } const rows[] = {
        {HWV_EXIT_RDPMC, exception(vector::general_protection, 0)},
        {HWV_EXIT_MONITOR, exception(vector::invalid_opcode)},
        {HWV_EXIT_MWAIT, exception(vector::invalid_opcode)},
        {HWV_EXIT_RSM, exception(vector::invalid_opcode)},
        {HWV_EXIT_RDPRU, exception(vector::invalid_opcode)},
        {HWV_EXIT_VIRT_INSTRUCTION, exception(vector::invalid_opcode)},
        {HWV_EXIT_XSETBV, exception(vector::invalid_opcode)}, // CR4.OSXSAVE is clear
    };
    for (const auto &row : rows) {
        backend().delivered.clear();
        backend().rflags_ = rflags::fixed;
        exits(row.reason, 3);
        run_and_kick();
        EXPECT_EQ(delivered(1), row.event) << row.reason;
        EXPECT_EQ(backend().rip_moves, 0u) << row.reason;
        EXPECT_TRUE(backend().rflags() & rflags::rf) << row.reason;
    }
}

// The pause is not over then, and says so; that is no error of the run's.
TEST_F(RunLoop, a_kick_ends_a_run_that_is_paused) {
    vcpu->ask(request::pause);
    host.pause = [this] {
        vcpu->ask(request::kick);
        return 1;
    };
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_KICKED});
    host.pause = [] { return 0; };
    run_and_kick();
}

// A task priority reaches the vendor's control structure, which is not the CPU's before load().
TEST_F(RunLoop, an_apic_register_is_of_a_loaded_vcpu) {
    hwv_apic_reg priority{.offset = 0x80, .value = 0x20, .flags = HWV_APIC_REG_SET, .reserved = 0};
    backend().cpu_off = true;
    EXPECT_EQ(vcpu->host_apic_register(priority).error(), Error::no_device);
    EXPECT_EQ(backend().tpr(), 0);
    backend().cpu_off = false;
    EXPECT_TRUE(vcpu->host_apic_register(priority));
    EXPECT_EQ(backend().tpr(), 2);
}

TEST_F(RunLoop, out_leaves_behind_the_instruction) {
    gpr(HWV_RAX) = 0x1122'3344'5566'7788;
    exits(io_exit(true, 2));
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_IO});
    EXPECT_EQ(page.exit.io.data, 0x7788u);
    EXPECT_EQ(page.exit.rip, 0x1000u);
    EXPECT_EQ(page.exit.next_rip, 0x1001u);
    EXPECT_EQ(rip(), 0x1001u);
    run_and_kick({.data = 0x99});
    EXPECT_EQ(rip(), 0x1001u);
    EXPECT_EQ(gpr(HWV_RAX), 0x1122'3344'5566'7788u);
}

TEST_F(RunLoop, in_completes_at_the_next_run_by_its_size) {
    struct {
        std::uint8_t size;
        std::uint64_t rax;
    } const rows[] = {{1, 0x1122'3344'5566'77dd}, {2, 0x1122'3344'5566'ccdd}, {4, 0xaabb'ccdd}};
    for (const auto &row : rows) {
        backend().rip_ = 0x1000;
        gpr(HWV_RAX) = 0x1122'3344'5566'7788;
        exits(io_exit(false, row.size));
        ASSERT_EQ(run(), 0);
        EXPECT_EQ(page.exit.io.data, 0u);
        EXPECT_EQ(rip(), 0x1000u);
        EXPECT_EQ(gpr(HWV_RAX), 0x1122'3344'5566'7788u);
        run_and_kick({.data = 0xffff'ffff'aabb'ccdd});
        EXPECT_EQ(gpr(HWV_RAX), row.rax) << int{row.size};
        EXPECT_EQ(rip(), 0x1001u);
        run_and_kick({.data = 0x5555});
        EXPECT_EQ(gpr(HWV_RAX), row.rax) << "completed twice";
        EXPECT_EQ(rip(), 0x1001u);
    }
}

TEST_F(RunLoop, dirty_registers_take_the_place_of_the_completion) {
    exits(io_exit(false, 4));
    ASSERT_EQ(run({.wanted = HWV_REGS_GPR}), 0);
    ASSERT_EQ(page.regs.valid, HWV_REGS_GPR);
    page.regs.gpr[HWV_RAX] = 0x77;
    page.regs.rip = 0x2000;
    run_and_kick({.dirty = HWV_REGS_GPR, .data = 0x99});
    EXPECT_EQ(gpr(HWV_RAX), 0x77u);
    EXPECT_EQ(rip(), 0x2000u);
}

TEST_F(RunLoop, a_refused_reply_keeps_the_completion) {
    exits(io_exit(false, 4));
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(run({.flags = 1u << 9, .data = 5}), -22);
    EXPECT_EQ(run({.data = 5, .cr8 = 16}), -22);
    EXPECT_EQ(rip(), 0x1000u);
    run_and_kick({.data = 6});
    EXPECT_EQ(gpr(HWV_RAX), 6u);
}

constexpr std::uint64_t device = 0x10'0000;

TEST_F(RunLoop, a_decoded_read_goes_where_the_mov_says) {
    struct {
        const char *what;
        std::initializer_list<std::uint8_t> code;
        std::uint8_t size;
        unsigned reg;
        std::uint64_t value;
    } const rows[] = {
        {"mov al, [rdi]", {0x8a, 0x07}, 1, HWV_RAX, 0x1122'3344'5566'77ff},
        {"mov ah, [rdi]", {0x8a, 0x27}, 1, HWV_RAX, 0x1122'3344'5566'ff88},
        {"mov ax, [rdi]", {0x66, 0x8b, 0x07}, 2, HWV_RAX, 0x1122'3344'5566'f0ff},
        {"mov eax, [rdi]", {0x8b, 0x07}, 4, HWV_RAX, 0x8000'f0ff},
        {"mov r9, [rdi]", {0x4c, 0x8b, 0x0f}, 8, HWV_R9, 0xabcd'0123'8000'f0ff},
        {"movzx eax, byte [rdi]", {0x0f, 0xb6, 0x07}, 1, HWV_RAX, 0xff},
        {"movzx eax, word [rdi]", {0x0f, 0xb7, 0x07}, 2, HWV_RAX, 0xf0ff},
        {"movsx eax, byte [rdi]", {0x0f, 0xbe, 0x07}, 1, HWV_RAX, 0xffff'ffff},
        {"movsx rax, word [rdi]", {0x48, 0x0f, 0xbf, 0x07}, 2, HWV_RAX, 0xffff'ffff'ffff'f0ff},
    };
    for (const auto &row : rows) {
        backend().rip_ = 0x1000;
        gpr(row.reg) = 0x1122'3344'5566'7788;
        exits(fault_exit(device + 8, false), row.code);
        ASSERT_EQ(run(), 0);
        ASSERT_EQ(page.exit.reason, unsigned{HWV_EXIT_MMIO}) << row.what;
        EXPECT_TRUE(page.exit.mmio.decoded) << row.what;
        EXPECT_EQ(page.exit.mmio.size, row.size) << row.what;
        EXPECT_EQ(page.exit.mmio.gpa, device + 8);
        EXPECT_EQ(rip(), 0x1000u);
        run_and_kick({.data = 0xabcd'0123'8000'f0ff});
        EXPECT_EQ(gpr(row.reg), row.value) << row.what;
        EXPECT_EQ(rip(), 0x1000 + row.code.size()) << row.what;
    }
}

TEST_F(RunLoop, a_decoded_write_leaves_behind_the_instruction) {
    gpr(HWV_RAX) = 0x1122'3344'5566'7788;
    exits(fault_exit(device, true), {0x88, 0x27}); // mov [rdi], ah
    ASSERT_EQ(run(), 0);
    EXPECT_TRUE(page.exit.mmio.decoded);
    EXPECT_EQ(page.exit.mmio.data, 0x77u);
    EXPECT_EQ(rip(), 0x1002u);
}

TEST_F(RunLoop, other_instructions_on_devices_are_for_user) {
    exits(fault_exit(device, true), {0x01, 0x07}); // add [rdi], eax
    ASSERT_EQ(run(), 0);
    EXPECT_FALSE(page.exit.mmio.decoded);
    EXPECT_EQ(page.exit.mmio.insn_len, 2);
    EXPECT_EQ(page.exit.mmio.insn[0], 0x01);
    EXPECT_EQ(page.regs.valid, HWV_REGS_GPR | HWV_REGS_SEGMENT | HWV_REGS_CONTROL);
    EXPECT_EQ(backend().rip_moves, 0u);
}

constexpr std::uint32_t unknown_msr = 0xc001'1234;

TEST_F(RunLoop, unknown_msrs_fault_where_the_user_does_not_want_them) {
    gpr(HWV_RCX) = unknown_msr;
    for (const ExitReason reason : {HWV_EXIT_MSR_READ, HWV_EXIT_MSR_WRITE}) {
        backend().delivered.clear();
        exits(reason, 2);
        run_and_kick();
        EXPECT_EQ(delivered(1), exception(vector::general_protection, 0));
        EXPECT_EQ(rip(), 0x1000u);
    }
}

TEST_F(RunLoop, msrs_of_the_user) {
    make(HWV_VM_MSR_TO_USER);
    gpr(HWV_RCX) = unknown_msr;
    gpr(HWV_RAX) = gpr(HWV_RDX) = ~0ull;
    exits(HWV_EXIT_MSR_READ, 2);
    ASSERT_EQ(run(), 0);
    ASSERT_EQ(page.exit.reason, unsigned{HWV_EXIT_MSR_READ});
    EXPECT_EQ(page.exit.msr.index, unknown_msr);
    exits(HWV_EXIT_MSR_WRITE, 2);
    ASSERT_EQ(run({.data = 0x1111'2222'3333'4444}), 0);
    EXPECT_EQ(gpr(HWV_RAX), 0x3333'4444u);
    EXPECT_EQ(gpr(HWV_RDX), 0x1111'2222u);
    EXPECT_EQ(page.exit.msr.data, 0x1111'2222'3333'4444u);
    EXPECT_EQ(rip(), 0x1002u);
    run_and_kick();
    EXPECT_EQ(rip(), 0x1004u);
}

TEST_F(RunLoop, the_user_refuses_an_msr) {
    make(HWV_VM_MSR_TO_USER);
    gpr(HWV_RCX) = unknown_msr;
    for (const ExitReason reason : {HWV_EXIT_MSR_READ, HWV_EXIT_MSR_WRITE}) {
        backend().delivered.clear();
        gpr(HWV_RAX) = 5;
        exits(reason, 2);
        ASSERT_EQ(run(), 0);
        run_and_kick({.flags = HWV_REPLY_FAULT, .data = 9});
        EXPECT_EQ(delivered(1), exception(vector::general_protection, 0)) << reason;
        EXPECT_EQ(gpr(HWV_RAX), 5u);
        EXPECT_EQ(backend().rip_moves, 0u) << reason;
    }
}

TEST_F(RunLoop, ioevents_take_writes_and_only_writes) {
    vm->set_ioevents(1);
    host.ioevent = [](int port, std::uint64_t address, std::uint32_t bytes, std::uint64_t data) {
        return port ? address == 0x3f8 && bytes == 2 && data == 0x7788
                    : address == device && bytes == 4 && data == 0x5566'7788;
    };
    gpr(HWV_RAX) = 0x1122'3344'5566'7788;
    exits(io_exit(true, 2));
    exits(fault_exit(device, true), {0x89, 0x07}); // mov [rdi], eax
    run_and_kick();
    EXPECT_EQ(rip(), 0x1003u);
    exits(io_exit(true, 1)); // another size
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_IO});
    exits(io_exit(false, 2));
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_IO});
}

TEST_F(RunLoop, a_signal_ends_the_run_before_the_entry) {
    host.works = 1;
    host.work_result = -4;
    EXPECT_EQ(run(), -4);
    EXPECT_TRUE(backend().delivered.empty());
    host.works = 2; // other work, and on
    host.work_result = 0;
    run_and_kick();
    EXPECT_EQ(host.work_served, 3u);
}

TEST_F(RunLoop, quick_exits_are_served_without_the_host) {
    gpr(HWV_RCX) = 0x277; // PAT
    for (const ExitReason reason : {HWV_EXIT_CPUID, HWV_EXIT_HYPERCALL, HWV_EXIT_MSR_READ,
                                    HWV_EXIT_RDTSC, HWV_EXIT_RDTSCP, HWV_EXIT_CPUID})
        exits(reason, 2);
    run_and_kick();
    EXPECT_EQ(rip(), 0x100cu);
    EXPECT_EQ(host.begun, 1u);
    exits(HWV_EXIT_CPUID, 2);
    exits(HWV_EXIT_PAUSE, 2); // not one of them
    exits(HWV_EXIT_CPUID, 2);
    run_and_kick();
    EXPECT_EQ(host.begun, 3u);
}

TEST_F(RunLoop, a_quick_exit_leaves_what_waits_to_the_host) {
    const auto after = [&](auto &&happens) {
        const unsigned before = host.begun;
        does([happens](FakeBackend &, Gprs &) {
            happens();
            return RawExit{Exit{.reason = HWV_EXIT_CPUID, .length = 2}, {}};
        });
        run_and_kick();
        return host.begun - before;
    };
    EXPECT_EQ(after([] {}), 1u);
    EXPECT_EQ(after([this] { host.works = 1; }), 3u); // the second is left for the work
    EXPECT_EQ(after([this] { vcpu->ask(request::steal); }), 2u);
    EXPECT_EQ(after([this] { vcpu->apic.unhalt(); }), 2u);
}

TEST_F(RunLoop, a_machine_check_is_the_hosts) {
    exits(HWV_EXIT_MACHINE_CHECK);
    run_and_kick();
    EXPECT_EQ(host.machine_checks, 1u);
    EXPECT_EQ(backend().rip_moves, 0u);
}

TEST_F(RunLoop, statistics_lose_nothing) {
    for (unsigned i = 0; i < 20; ++i)
        exits(i % 2 ? HWV_EXIT_CPUID : HWV_EXIT_PAUSE, 2);
    exits(io_exit(true, 1));
    ASSERT_EQ(run(), 0);
    hwv::fake::hardware().tsc += 12'345; // in user
    host.block = [this] {
        hwv::fake::hardware().tsc += 777;
        vcpu->apic.unhalt();
        return 0;
    };
    exits(HWV_EXIT_HLT, 1);
    run_and_kick();
    const hwv_vcpu_stats &s = *vcpu->statistics.page();
    const auto time = [&s](hwv_segment_kind kind) { return s.segment[kind].cycles; };
    const auto mass = [](const auto &of) {
        return std::accumulate(std::begin(of.histogram), std::end(of.histogram), std::uint64_t{0});
    };
    std::uint64_t count = 0, kernel = 0, segments = 0;
    for (const hwv_exit_stats &e : s.exit) {
        EXPECT_EQ(mass(e), e.count);
        EXPECT_LE(e.max_cycles, e.cycles);
        count += e.count;
        kernel += e.cycles;
    }
    for (const hwv_segment_stats &each : s.segment) {
        segments += each.cycles;
        const auto kind = static_cast<hwv_segment_kind>(&each - s.segment);
        if (kind == HWV_TIME_KERNEL) continue;
        EXPECT_EQ(mass(each), kind == HWV_TIME_GUEST ? s.entries : each.count);
    }
    EXPECT_EQ(s.open_reason, unsigned{HWV_EXIT_HOST_INTERRUPT}) << "of the exit under way";
    EXPECT_EQ(s.entries, 23u);
    EXPECT_EQ(count, 22u);
    EXPECT_EQ(s.exit[HWV_EXIT_CPUID].count, 10u);
    EXPECT_EQ(s.exit[HWV_EXIT_IO].to_user, 1u);
    EXPECT_EQ(s.exit[HWV_EXIT_CPUID].to_user, 0u);
    EXPECT_EQ(segments, s.last_tsc - s.first_tsc);
    EXPECT_LE(kernel, time(HWV_TIME_KERNEL));
    EXPECT_GE(time(HWV_TIME_USER), 12'345u);
    EXPECT_GE(time(HWV_TIME_HALTED), 777u);
    EXPECT_LT(time(HWV_TIME_HALTED), 1'500u);
}

TEST_F(RunLoop, a_task_switch_leaves_whole) {
    const auto task_exit = [](bool iret, bool jump, std::uint8_t length, const Event &event) {
        Exit e{.reason = HWV_EXIT_TASK_SWITCH, .length = length, .delivering = event};
        e.task = {0x48, iret, jump, event.has_error_code, event.error_code};
        return e;
    };
    struct {
        Exit exit;
        hwv_task_source source;
        std::uint64_t next_rip;
    } const rows[] = {
        {task_exit(false, false, 7, {}), HWV_TASK_CALL, 0x1007},
        {task_exit(true, false, 1, {}), HWV_TASK_IRET, 0x1001},
        {task_exit(false, true, 5, {}), HWV_TASK_JUMP, 0x1005},
        {task_exit(false, false, 0, exception(8, 0x11)), HWV_TASK_GATE, 0},
        {task_exit(false, false, 2, {HWV_EVENT_SOFTWARE, 0x80, false, 2}), HWV_TASK_GATE, 0x1002},
    };
    for (const auto &row : rows) {
        const Event &event = row.exit.delivering;
        exits(row.exit);
        ASSERT_EQ(run(), 0);
        EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_TASK_SWITCH});
        EXPECT_EQ(page.exit.rip, 0x1000u);
        EXPECT_EQ(page.exit.next_rip, row.next_rip);
        EXPECT_EQ(page.exit.task.selector, 0x48);
        EXPECT_EQ(page.exit.task.source, row.source);
        EXPECT_EQ(page.exit.task.event_type, event.type);
        EXPECT_EQ(page.exit.task.event_vector, event.vector);
        EXPECT_EQ(page.exit.task.has_error_code, event.has_error_code);
        EXPECT_EQ(page.exit.task.error_code, event.error_code);
        EXPECT_EQ(page.regs.valid, HWV_REGS_ALL);
        EXPECT_EQ(page.regs.event.type, HWV_EVENT_NONE);
        backend().delivered.clear();
        run_and_kick();
        EXPECT_EQ(delivered(0), Event{}) << "not twice";
        EXPECT_EQ(rip(), 0x1000u) << "RIP is the user's to move";
    }
}

} // namespace
