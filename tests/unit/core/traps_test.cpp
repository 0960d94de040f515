// SPDX-License-Identifier: GPL-2.0-only
// Traps of a VM on their way to its vCPUs, and what the core makes of the exits that they give.
#include "core/machine.hpp"

namespace hwv::test {
namespace {

struct TrapsTest : CoreMachine {
    static constexpr std::uint64_t start = 0x1000;
    // Leaves the guest by a kick, so that the next run begins with the VM's traps.
    void trap(const Traps &traps) {
        vm->set_traps(traps);
        run_and_kick();
        backend().set_rip(start);
    }
    // One exit, and what became of RIP.
    std::uint64_t after(const Exit &exit, std::initializer_list<std::uint8_t> bytes = {}) {
        backend().set_rip(start);
        exits(exit, bytes);
        run_and_kick();
        return backend().rip() - start;
    }
    Exit access(ExitReason reason, unsigned number, bool write, std::uint8_t gpr = HWV_RBX) {
        Exit e{.reason = reason, .length = 3};
        e.reg = {.number = static_cast<std::uint8_t>(number),
                 .gpr = gpr,
                 .write = write,
                 .decoded = true,
                 .lmsw = false,
                 .clts = false,
                 .source = 0};
        return e;
    }
    Exit dr(unsigned number, bool write) { return access(HWV_EXIT_DR_ACCESS, number, write); }
    // The event of the entry behind the exit.
    Event last() { return backend().delivered.back(); }
};

TEST_F(TrapsTest, a_vcpu_takes_them_at_its_next_entry_and_once) {
    const unsigned before = backend().traps_set;
    trap({.exceptions = 1 << 6});
    EXPECT_EQ(backend().traps_set, before + 1);
    EXPECT_EQ(backend().traps.exceptions, 1u << 6);
    run_and_kick();
    EXPECT_EQ(backend().traps_set, before + 1);
}

TEST_F(TrapsTest, who_is_in_the_guest_is_called_out_before_it_goes_on) {
    does([this](FakeBackend &, Gprs &) {
        vm->set_traps({.instructions = trap::pause});
        return RawExit{Exit{.reason = HWV_EXIT_CPUID, .length = 2}, {}};
    });
    does([this](FakeBackend &b, Gprs &) {
        EXPECT_EQ(b.traps.instructions, trap::pause);
        vcpu->ask(request::kick);
        return RawExit{Exit{.reason = HWV_EXIT_HOST_INTERRUPT}, {}};
    });
    EXPECT_EQ(run(), 0);
}

TEST_F(TrapsTest, a_vcpu_that_comes_later_has_them) {
    vm->set_traps({.instructions = trap::rdtsc});
    hwv_run other_page{};
    auto other = std::make_unique<FakeVcpu>(*vm, 1, nullptr, &other_page);
    ASSERT_TRUE(other->init());
    ASSERT_TRUE(vm->add(*other, 1));
    EXPECT_TRUE(other->asked());
    vm->remove(1);
}

TEST_F(TrapsTest, without_memory_for_the_map_the_guest_is_not_entered_and_they_are_kept) {
    Traps traps;
    traps.add(MsrRange{0x10, 0x10, true, false});
    vm->set_traps(traps);
    backend().no_memory = true;
    EXPECT_EQ(run(), to_errno(Error::no_memory));
    EXPECT_EQ(backend().traps.msr_ranges, 0);
    backend().no_memory = false;
    run_and_kick();
    EXPECT_TRUE(backend().traps.reads_msr(0x10));
}

TEST_F(TrapsTest, debug_registers_are_given_to_who_is_not_watched) {
    EXPECT_EQ(after(dr(0, true)), 0u);
    EXPECT_EQ(backend().debug(0), 0u);
}

TEST_F(TrapsTest, moves_of_trapped_debug_registers_are_completed) {
    trap({.dr_writes = 1 << 0});
    vcpu->gprs[HWV_RBX] = 0x1234'5678'9abc;
    EXPECT_EQ(after(dr(3, true)), 3u);
    EXPECT_EQ(backend().debug(3), 0x1234'5678'9abcu);
    vcpu->gprs[HWV_RBX] = 0;
    EXPECT_EQ(after(dr(3, false)), 3u);
    EXPECT_EQ(vcpu->gprs[HWV_RBX], 0x1234'5678'9abcu);
    vcpu->gprs[HWV_RBX] = 0xffff'ffff;
    after(dr(4, true)); // DR6
    EXPECT_EQ(backend().debug(6), 0xffff'efffu);
    vcpu->gprs[HWV_RBX] = 0;
    after(dr(5, true)); // DR7
    EXPECT_EQ(backend().debug(7), 0x400u);
    EXPECT_FALSE(last());
}

TEST_F(TrapsTest, moves_of_debug_registers_that_fault) {
    trap({.dr_reads = 1});
    const auto raises = [&](Event e, const Exit &exit) {
        EXPECT_EQ(after(exit), 0u);
        EXPECT_EQ(last(), e);
    };
    vcpu->gprs[HWV_RBX] = 1ull << 32;
    raises(exception(vector::general_protection, 0), dr(7, true));
    raises(exception(vector::general_protection, 0), dr(6, true));
    raises(exception(vector::invalid_opcode), dr(8, false));
    backend().set_cr4(cr4::de);
    raises(exception(vector::invalid_opcode), dr(4, false));
    backend().cpl_ = 3;
    raises(exception(vector::general_protection, 0), dr(0, false));
    backend().cpl_ = 0;
    backend().set_debug(7, 1 << 13 | 0x400);
    raises(exception(vector::debug), dr(0, false));
    EXPECT_EQ(backend().debug(7), 0x400u);
    EXPECT_TRUE(backend().debug(6) & 1 << 13);
    EXPECT_TRUE(backend().rflags() & rflags::rf);
}

TEST_F(TrapsTest, trapped_exceptions_go_on_to_the_guest) {
    Exit fault{.reason = HWV_EXIT_EXCEPTION};
    fault.exception = {.vector = vector::page_fault,
                       .has_error_code = true,
                       .software_length = 0,
                       .error_code = 6,
                       .address = 0xdead'b000,
                       .dr6 = 0};
    EXPECT_EQ(after(fault), 0u);
    EXPECT_EQ(last(), exception(vector::page_fault, 6));
    EXPECT_EQ(backend().cr2(), 0xdead'b000u);
    fault.delivering = exception(vector::general_protection, 0);
    after(fault);
    EXPECT_EQ(last(), exception(vector::page_fault, 6)); // contributory, then a page fault
    fault.delivering = exception(vector::page_fault, 0);
    after(fault);
    EXPECT_EQ(last(), exception(vector::double_fault, 0));
}

TEST_F(TrapsTest, int3_returns_behind_itself) {
    Exit trap{.reason = HWV_EXIT_EXCEPTION};
    trap.exception = {.vector = vector::breakpoint,
                      .has_error_code = false,
                      .software_length = 1,
                      .error_code = 0,
                      .address = 0,
                      .dr6 = 0};
    after(trap);
    EXPECT_EQ(last(), (Event{HWV_EVENT_SOFTWARE, 3, false, 1}));
    trap.exception.software_length = 0; // the CPU does not say
    after(trap, {0x2e, 0xcc, 0x90, 0x90});
    EXPECT_EQ(last(), (Event{HWV_EVENT_SOFTWARE, 3, false, 2}));
    after(trap, {0x90, 0x90, 0x90, 0x90}); // rewritten meanwhile
    EXPECT_FALSE(last());
}

TEST_F(TrapsTest, rdtscp_that_is_reported_as_rdtsc_gives_tsc_aux_too) {
    backend().msrs[0xc000'0103] = 7;
    vcpu->gprs[HWV_RCX] = ~0ull;
    EXPECT_EQ(after(Exit{.reason = HWV_EXIT_RDTSC}, {0x0f, 0x01, 0xf9}), 3u);
    EXPECT_EQ(vcpu->gprs[HWV_RCX], 7u);
    vcpu->gprs[HWV_RCX] = ~0ull;
    EXPECT_EQ(after(Exit{.reason = HWV_EXIT_RDTSC}, {0x0f, 0x31}), 2u);
    EXPECT_EQ(vcpu->gprs[HWV_RCX], ~0ull);
}

TEST_F(TrapsTest, a_register_of_32_bits_takes_no_more_of_cr3) {
    backend().segments_[HWV_CS].attributes = 0x9b | segment::db;
    backend().set_cr3(0x1'2345'6000);
    EXPECT_EQ(after(access(HWV_EXIT_CR_READ, 3, false)), 3u);
    EXPECT_EQ(vcpu->gprs[HWV_RBX], 0x2345'6000u);
}

TEST_F(TrapsTest, smsw_of_a_word_keeps_the_rest) {
    backend().set_cr0(cr0::pe | cr0::et);
    vcpu->gprs[HWV_RCX] = ~0ull;
    const Exit read{.reason = HWV_EXIT_CR_READ};
    EXPECT_EQ(after(read, {0x66, 0x0f, 0x01, 0xe1}), 4u);
    EXPECT_EQ(vcpu->gprs[HWV_RCX], 0xffff'ffff'ffff'0011u);
    EXPECT_EQ(after(read, {0x0f, 0x01, 0xe1}), 3u);
    EXPECT_EQ(vcpu->gprs[HWV_RCX], 0x11u);
}

// ---- one instruction by the guest itself ----

TEST_F(TrapsTest, an_instruction_that_is_not_completed_here_runs_without_its_trap) {
    backend().shadow_ = HWV_SHADOW_STI;
    exits(HWV_EXIT_DESCRIPTOR, 3);
    does([&](FakeBackend &b, Gprs &) { // the host interrupts it
        EXPECT_EQ(b.lifted, HWV_EXIT_DESCRIPTOR);
        EXPECT_FALSE(b.shadow_);
        (void)vcpu->apic.accept({.mode = cpu::DeliveryMode::nmi});
        vcpu->ask(request::event);
        return RawExit{Exit{.reason = HWV_EXIT_HOST_INTERRUPT}, {}};
    });
    does([](FakeBackend &b, Gprs &) {
        EXPECT_EQ(b.lifted, HWV_EXIT_DESCRIPTOR);
        b.set_rip(b.rip() + 3);
        return RawExit{Exit{.reason = HWV_EXIT_STEP}, {}};
    });
    run_and_kick();
    EXPECT_EQ(backend().lifted, HWV_EXIT_NONE);
    EXPECT_FALSE(delivered(2)) << "injected into a step";
    EXPECT_EQ(delivered(3).type, HWV_EVENT_NMI);
}

TEST_F(TrapsTest, a_step_that_faults_or_is_completed_by_others_is_over) {
    Exit fault{.reason = HWV_EXIT_EXCEPTION};
    fault.exception = {.vector = vector::page_fault,
                       .has_error_code = true,
                       .software_length = 0,
                       .error_code = 2,
                       .address = 0,
                       .dr6 = 0};
    exits(HWV_EXIT_DESCRIPTOR, 3);
    exits(fault);
    does([this](FakeBackend &b, Gprs &) {
        EXPECT_EQ(b.lifted, HWV_EXIT_NONE);
        vcpu->ask(request::kick);
        return RawExit{Exit{.reason = HWV_EXIT_HOST_INTERRUPT}, {}};
    });
    EXPECT_EQ(run(), 0);
    EXPECT_EQ(last(), exception(vector::page_fault, 2));
    exits(HWV_EXIT_DESCRIPTOR, 3);
    run_and_kick();
    EXPECT_EQ(backend().lifted, HWV_EXIT_DESCRIPTOR);
    backend().set_rip(start + 7);
    run_and_kick();
    EXPECT_EQ(backend().lifted, HWV_EXIT_NONE);
}

// ---- the value ----

TEST(TrapsValue, ranges_beyond_the_last_become_all) {
    Traps traps;
    for (unsigned i = 0; i < Traps::max_msr_ranges; ++i)
        traps.add(MsrRange{i * 2, i * 2, true, false});
    EXPECT_FALSE(traps.reads_msr(1) || traps.writes_msr(2));
    traps.add(MsrRange{1000, 1000, true, false});
    EXPECT_TRUE(traps.reads_msr(1) && traps.reads_msr(1000) && traps.writes_msr(2));
}

} // namespace
} // namespace hwv::test
