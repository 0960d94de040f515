// SPDX-License-Identifier: GPL-2.0-only
// A vCPU that is not on a CPU: what the guest sees of it by the steal time record, the note that
// other vCPUs leave there, and to whom a waiting one gives its own CPU.
#include <cstring>
#include "core/machine.hpp"
#include "hardware.hpp"

namespace {

using namespace hwv;
using namespace hwv::test;

class Absence : public CoreMachine {
  protected:
    static constexpr std::uint64_t base = 0x10'0000, page_bytes = 4096, record_at = 0x140;

    void SetUp() override {
        CoreMachine::SetUp();
        add_memory(0);
        vcpu->pv.steal_time = (base + record_at) | cpu::pv_enabled;
        vcpu->put_back(request::steal);
        run_and_kick();
        EXPECT_EQ(version(), 2u);
    }
    void add_memory(std::uint32_t flags) {
        ASSERT_TRUE(vm->memory.set_memory({.slot = 0,
                                           .flags = flags,
                                           .gpa = base,
                                           .size = page_bytes,
                                           .hva = reinterpret_cast<std::uint64_t>(&memory)}));
    }
    std::uint8_t &byte() { return memory.bytes[record_at + cpu::pv_preempted_at]; }
    std::uint32_t version() const {
        std::uint32_t v;
        std::memcpy(&v, memory.bytes + record_at + offsetof(cpu::PvSteal, version), sizeof v);
        return v;
    }
    // The scheduler takes the CPU from the thread, `meanwhile` happens, and gives it back.
    template <typename Meanwhile>
    void switched_out(Meanwhile meanwhile, bool owner = true) {
        host.irqs_off = true;
        vcpu->put(owner);
        meanwhile();
        vcpu->load(0);
        host.irqs_off = false;
    }
    // HLT, in whose wait the scheduler switches; then an interrupt.
    template <typename Meanwhile>
    void halts(Meanwhile meanwhile) {
        host.block = [this, meanwhile] {
            const PreemptGuard guard;
            switched_out(meanwhile);
            vcpu->apic.unhalt();
            return 0;
        };
        exits(HWV_EXIT_HLT, 1);
        run_and_kick();
    }

    struct alignas(page_bytes) {
        std::uint8_t bytes[page_bytes];
    } memory{};
};

TEST_F(Absence, is_shown_while_halted_and_taken_back_before_the_entry) {
    const unsigned flushes = backend().flushes;
    does([this](FakeBackend &, Gprs &) {
        EXPECT_EQ(byte(), 0) << "it runs";
        return RawExit{Exit{.reason = HWV_EXIT_HOST_INTERRUPT}, {}};
    });
    halts([this] { EXPECT_EQ(byte(), cpu::pv_preempted); });
    EXPECT_EQ(byte(), 0);
    EXPECT_GT(version(), 2u) << "and the time stolen is told";
    EXPECT_EQ(backend().flushes, flushes) << "nobody left a note";
}

TEST_F(Absence, a_note_drops_translations_before_the_entry) {
    const unsigned flushes = backend().flushes;
    halts([this] { byte() |= cpu::pv_flush_wanted; });
    EXPECT_EQ(byte(), 0);
    EXPECT_EQ(backend().flushes, flushes + 1);
}

TEST_F(Absence, a_note_that_cannot_be_read_may_have_been_left) {
    host.exchange_error = -EAGAIN;
    const unsigned flushes = backend().flushes;
    halts([] {});
    EXPECT_EQ(backend().flushes, flushes + 1);
}

TEST_F(Absence, is_shown_while_others_have_the_cpu) {
    host.works = 1;
    host.on_work = [this] {
        const PreemptGuard guard;
        switched_out([this] {
            EXPECT_EQ(byte(), cpu::pv_preempted);
            byte() |= cpu::pv_flush_wanted;
        });
    };
    const unsigned flushes = backend().flushes;
    run_and_kick();
    EXPECT_EQ(byte(), 0);
    EXPECT_EQ(backend().flushes, flushes + 1);
}

TEST_F(Absence, is_not_shown_in_the_middle_of_an_instruction) {
    host.on_fault_in = [this] {
        const PreemptGuard guard;
        switched_out([this] { EXPECT_EQ(byte(), 0); });
    };
    Exit fault{.reason = HWV_EXIT_PAGE_FAULT};
    fault.fault.gpa = base + 0x800;
    exits(fault);
    run_and_kick();
    EXPECT_EQ(host.faults_in, 1u);
}

TEST_F(Absence, is_not_shown_in_an_observers_memory) {
    host.block = [this] {
        const PreemptGuard guard;
        switched_out([this] { EXPECT_EQ(byte(), 0); }, false);
        vcpu->apic.unhalt();
        return 0;
    };
    exits(HWV_EXIT_HLT, 1);
    run_and_kick();
}

TEST_F(Absence, is_not_shown_where_the_slot_logs_or_is_gone) {
    add_memory(HWV_MEMORY_LOG_DIRTY);
    halts([this] { EXPECT_EQ(byte(), 0) << "the slot was not looked at yet"; });
    vcpu->put_back(request::steal);
    halts([this] { EXPECT_EQ(byte(), 0) << "writes are logged under a lock"; });
}

TEST_F(Absence, init_ends_all_records) {
    vcpu->pv.system_time = base | cpu::pv_enabled;
    (void)vcpu->interrupt({.kind = HWV_INTERRUPT_INIT, .vector = 0});
    run_and_kick();
    EXPECT_EQ(vcpu->pv.steal_time, 0u);
    EXPECT_EQ(vcpu->pv.system_time, 0u);
}

class Yielding : public CoreMachine {
  protected:
    static hwv_host_vcpu *name(unsigned id) {
        return reinterpret_cast<hwv_host_vcpu *>(std::uintptr_t{16} * id);
    }
    void SetUp() override {
        CoreMachine::SetUp();
        for (unsigned id = 1; id < 4; ++id) {
            others.push_back(std::make_unique<FakeVcpu>(*vm, id, name(id), &pages[id]));
            ASSERT_TRUE(others.back()->init());
            ASSERT_TRUE(vm->add(*others.back(), id));
        }
        host.yield_to = [this](hwv_host_vcpu *to) {
            asked.push_back(static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(to) / 16));
            return asked.back() == waiting;
        };
    }
    void TearDown() override {
        others.clear();
        CoreMachine::TearDown();
    }
    void hypercall(std::uint64_t nr, std::uint64_t rbx, std::uint64_t rcx = 0) {
        vcpu->gprs[HWV_RAX] = nr;
        vcpu->gprs[HWV_RBX] = rbx;
        vcpu->gprs[HWV_RCX] = rcx;
        exits(HWV_EXIT_HYPERCALL, 3);
        run_and_kick();
    }

    using Ids = std::vector<unsigned>;
    hwv_run pages[4] = {};
    std::vector<std::unique_ptr<FakeVcpu>> others;
    Ids asked;
    unsigned waiting = ~0u;
};

TEST_F(Yielding, a_loop_of_pauses_goes_round) {
    waiting = 2;
    exits(HWV_EXIT_PAUSE, 2);
    run_and_kick();
    EXPECT_EQ(asked, (Ids{1, 2}));
    exits(HWV_EXIT_PAUSE, 2);
    run_and_kick();
    EXPECT_EQ(asked, (Ids{1, 2, 3, 1, 2})) << "from the one after the last on";
    waiting = ~0u;
    exits(HWV_EXIT_PAUSE, 2);
    run_and_kick();
    EXPECT_EQ(asked.size(), 8u) << "each once, but itself";
}

TEST_F(Yielding, by_hypercall_to_one) {
    hypercall(11, 3);
    hypercall(5, 0, 1);
    EXPECT_EQ(asked, (Ids{3, 1}));
    hypercall(11, 0);
    hypercall(11, 77);
    EXPECT_EQ(asked.size(), 2u) << "itself, and nobody";
}

TEST_F(CoreMachine, a_lonely_vcpu_yields_to_nobody) {
    host.yield_to = [](hwv_host_vcpu *) { return 1; };
    const unsigned begun = host.begun;
    exits(HWV_EXIT_PAUSE, 2);
    run_and_kick();
    EXPECT_EQ(host.begun, begun + 2);
}

} // namespace
