// SPDX-License-Identifier: GPL-2.0-only
// PAE's page directory pointers, on a CPU that keeps them in registers: when they are loaded, and
// what becomes of those that no register may hold. Intel SDM vol. 3 "PDPTE Registers".
#include "core/machine.hpp"

namespace {

using namespace hwv;
using namespace hwv::test;

using Entries = std::array<std::uint64_t, 4>;

constexpr std::uint64_t root = 0x20, absent = 0x8000'0000, on = cr0::pe | cr0::pg | cr0::et;
constexpr Entries good{0x1001, 0x2001, 0, 0x8'0000'4001};
constexpr Entries initial{1, 2, 3, 4};

class PageDirectories : public CoreMachine {
  protected:
    void SetUp() override {
        CoreMachine::SetUp();
        ASSERT_TRUE(vm->memory.set_memory(
            {.slot = 1, .size = sizeof table, .hva = reinterpret_cast<std::uint64_t>(table)}));
        in_memory(good);
        backend().segments_[HWV_CS].attributes = 0x9b | segment::db;
        backend().efer_ = 0;
        backend().page_directories = initial;
    }
    void in_memory(const Entries &entries) {
        std::copy(entries.begin(), entries.end(), table + root / 8);
    }
    void pae(std::uint64_t cr3 = root) {
        backend().cr0_ = on;
        backend().cr4_ = cr4::pae;
        backend().cr3_ = cr3;
    }
    const Entries &held() { return backend().page_directories; }

    // A MOV to a control register of this value in RAX.
    void guest_writes(std::uint8_t number, std::uint64_t value) {
        Exit e{.reason = HWV_EXIT_CR_WRITE, .length = 3};
        e.reg = {.number = number, .gpr = HWV_RAX, .write = true, .decoded = true};
        does([=](FakeBackend &, Gprs &gprs) {
            gprs[HWV_RAX] = value;
            return RawExit{e, {}};
        });
        backend().delivered.clear();
        run_and_kick();
        faulted = delivered(1) == exception(vector::general_protection, 0);
        EXPECT_TRUE(faulted || !delivered(1));
    }
    int user_sets(std::uint64_t cr0, std::uint64_t cr3, std::uint64_t cr4, std::uint64_t efer = 0) {
        page.reply = {.wanted = HWV_REGS_CONTROL};
        EXPECT_EQ(vcpu->sync(), 0);
        page.regs.cr0 = cr0;
        page.regs.cr3 = cr3;
        page.regs.cr4 = cr4;
        page.regs.efer = efer;
        page.reply = {.dirty = HWV_REGS_CONTROL};
        return vcpu->sync();
    }

    alignas(4096) std::uint64_t table[512] = {};
    bool faulted = false;
};

TEST_F(PageDirectories, the_guest_loads_them_with_cr3) {
    pae(0x1000);
    guest_writes(3, root);
    EXPECT_FALSE(faulted);
    EXPECT_EQ(held(), good);
    EXPECT_EQ(backend().cr3(), root);
}

TEST_F(PageDirectories, a_reserved_bit_is_refused_and_nothing_changes) {
    pae(0x1000);
    for (const std::uint64_t bit : {1, 2, 5, 6, 7, 8, 48, 63}) {
        Entries bad = good;
        bad[1] |= 1ull << bit;
        in_memory(bad);
        guest_writes(3, root);
        EXPECT_TRUE(faulted) << bit;
        EXPECT_EQ(held(), initial) << bit;
        EXPECT_EQ(backend().cr3(), 0x1000u) << bit;
    }
    in_memory({good[0], ~1ull, 0, 0}); // not present: the others do not count
    guest_writes(3, root);
    EXPECT_FALSE(faulted);
}

TEST_F(PageDirectories, no_memory_is_refused) {
    pae(0x1000);
    guest_writes(3, absent);
    EXPECT_TRUE(faulted);
    EXPECT_EQ(held(), initial);
    EXPECT_EQ(backend().cr3(), 0x1000u);
}

TEST_F(PageDirectories, paging_that_comes_on_loads_them) {
    pae();
    backend().cr0_ = cr0::pe | cr0::et;
    guest_writes(0, on);
    EXPECT_EQ(held(), good);
    pae();
    backend().cr4_ = 0;
    in_memory({});
    guest_writes(4, cr4::pae);
    EXPECT_EQ(held(), Entries{});
}

// Bits of CR0 and CR4 that are none of PAE's business do not even look.
TEST_F(PageDirectories, other_changes_leave_them) {
    pae();
    in_memory({~0ull, ~0ull, ~0ull, ~0ull});
    guest_writes(0, on | cr0::ts | cr0::wp);
    EXPECT_FALSE(faulted);
    guest_writes(4, cr4::pae | cr4::osfxsr);
    EXPECT_FALSE(faulted);
    EXPECT_EQ(held(), initial);
    guest_writes(4, cr4::pae | cr4::osfxsr | cr4::pge);
    EXPECT_TRUE(faulted);
    guest_writes(0, on | cr0::cd);
    EXPECT_TRUE(faulted);
    EXPECT_EQ(held(), initial);
}

TEST_F(PageDirectories, other_paging_has_none) {
    for (const std::uint64_t cr4 : {std::uint64_t{0}, cr4::pae + 0}) {
        backend().cr0_ = on;
        backend().cr4_ = cr4;
        backend().efer_ = cr4 ? efer::lme | efer::lma : 0;
        guest_writes(3, absent);
        EXPECT_FALSE(faulted);
    }
    EXPECT_EQ(backend().page_directories_set, 0u);
}

TEST_F(PageDirectories, the_user_loads_them_with_the_registers) {
    EXPECT_EQ(user_sets(on, root, cr4::pae), 0);
    EXPECT_EQ(held(), good);
}

// The CPU would not enter a guest with such: they are not present, and the guest's access faults.
TEST_F(PageDirectories, what_the_user_sets_and_no_register_takes_is_not_present) {
    in_memory({good[0], good[1] | 0x100, 0x20, good[3]});
    EXPECT_EQ(user_sets(on, root, cr4::pae), 0);
    EXPECT_EQ(held(), (Entries{good[0], 0, 0x20, good[3]}));
    EXPECT_EQ(user_sets(on, absent, cr4::pae), 0);
    EXPECT_EQ(held(), Entries{});
    EXPECT_EQ(backend().cr3(), absent);
}

} // namespace
