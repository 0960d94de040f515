// SPDX-License-Identifier: GPL-2.0-only
// Slots, faults and the dirty log of a VM's memory, over the test's own memory.
#include <cstdlib>
#include <cstring>
#include "core/machine.hpp"
#include "npt/format_ept.hpp"

namespace {

using namespace hwv;
using namespace hwv::test;

constexpr std::uint64_t page_bytes = 4096, pages = 130, base = 0x20'0000;

class MemoryTest : public CoreMachine {
  protected:
    void SetUp() override {
        CoreMachine::SetUp();
        owner.reset(
            static_cast<std::uint8_t *>(std::aligned_alloc(page_bytes, pages * page_bytes)));
        std::memset(owner.get(), 0, pages * page_bytes);
    }

    hwv_memory slot(std::uint32_t flags = 0) {
        return {.slot = 3, .flags = flags, .gpa = base, .size = pages * page_bytes, .hva = hva(0)};
    }
    std::uint64_t hva(std::uint64_t n) {
        return reinterpret_cast<std::uint64_t>(owner.get()) + n * page_bytes;
    }
    void create(std::uint32_t flags = 0) { ASSERT_TRUE(vm->memory.set_memory(slot(flags))); }
    Error set(const hwv_memory &request) { return vm->memory.set_memory(request).error(); }

    Result<FaultResult> touch(std::uint64_t page_number, bool write) {
        FaultAccess access{};
        access.gpa = base + page_number * page_bytes + 0x123;
        access.write = write;
        return vm->memory.fault(access, nullptr, vcpu->slot_cache, vcpu->spare);
    }
    std::vector<std::uint64_t> log(std::uint64_t first = 0, std::uint64_t count = pages) {
        std::vector<std::uint64_t> words((count + 63) / 64, ~0ull);
        EXPECT_TRUE(vm->memory.harvest({.slot = 3, .first = first, .pages = count}, words.data()));
        return words;
    }

    struct Free {
        void operator()(std::uint8_t *p) const { std::free(p); }
    };
    std::unique_ptr<std::uint8_t, Free> owner;
};

using Words = std::vector<std::uint64_t>;

TEST_F(MemoryTest, slots_are_checked) {
    create();
    const auto changed = [this](auto change) {
        hwv_memory m = slot();
        change(m);
        return set(m);
    };
    EXPECT_EQ(changed([](hwv_memory &m) { m.slot = HWV_MAX_SLOTS; }), Error::invalid);
    EXPECT_EQ(changed([](hwv_memory &m) { m.flags = 4; }), Error::invalid);
    EXPECT_EQ(changed([](hwv_memory &m) { m.gpa += 8; }), Error::invalid);
    EXPECT_EQ(changed([](hwv_memory &m) { m.size -= page_bytes; }), Error::invalid);
    EXPECT_EQ(changed([](hwv_memory &m) { m.hva += page_bytes; }), Error::invalid);
    EXPECT_EQ(changed([](hwv_memory &m) { m.slot = 4; }), Error::exists);
    EXPECT_EQ(changed([](hwv_memory &m) { m.slot = 4, m.size = 0; }), Error::not_found);
    EXPECT_EQ(changed([](hwv_memory &m) { m.slot = 4, m.gpa = 1ull << 48; }), Error::invalid);
    EXPECT_EQ(changed([](hwv_memory &m) { m.gpa = 0x4000'0000; }), Error::none);
}

TEST_F(MemoryTest, a_change_that_is_refused_costs_no_fault) {
    create();
    hwv_memory other = slot();
    other.slot = 4;
    other.gpa = 0x4000'0000;
    ASSERT_EQ(set(other), Error::none);
    EXPECT_EQ(*touch(1, true), FaultResult::mapped);
    hwv_memory m = slot();
    m.size -= page_bytes;
    EXPECT_EQ(set(m), Error::invalid);
    m = slot(), m.gpa = other.gpa + page_bytes;
    EXPECT_EQ(set(m), Error::exists);
    m = slot(4);
    EXPECT_EQ(set(m), Error::invalid);
    m = slot(HWV_MEMORY_LOG_DIRTY);
    host.fail_after = 0;
    EXPECT_EQ(set(m), Error::no_memory);
    host.fail_after = -1;
    EXPECT_EQ(set(slot()), Error::none) << "as it is";
    EXPECT_FALSE(vcpu->asked());
    EXPECT_TRUE(vm->memory.age_hva(hva(1), hva(2), false));
    m = slot(), m.size = 0;
    EXPECT_EQ(set(m), Error::none);
    EXPECT_TRUE(vcpu->asked());
}

// A slot of 512 MiB and a bit, of which some pages are there. Its memory is never looked at.
class StretchTest : public MemoryTest {
  protected:
    static constexpr std::uint64_t stretch = 8192, count = 16 * stretch + 100;

    void SetUp() override {
        MemoryTest::SetUp();
        ASSERT_EQ(set(large()), Error::none);
        for (const std::uint64_t n : {std::uint64_t{0}, stretch, 9 * stretch - 1, count - 1})
            ASSERT_EQ(*touch(n, false), FaultResult::mapped);
    }
    hwv_memory large() {
        return {.slot = 3, .gpa = base, .size = count * page_bytes, .hva = hva(0)};
    }
    bool mapped(std::uint64_t n) { return vm->memory.age_hva(hva(n), hva(n + 1), false); }
};

TEST_F(StretchTest, a_large_slot_goes_in_stretches_and_nothing_comes_back_meanwhile) {
    hwv_memory gone = large();
    gone.size = 0;
    host.on_give_way = [this] {
        EXPECT_EQ(*touch(0, false), FaultResult::again);
        EXPECT_EQ(*touch(count - 1, false), FaultResult::again);
    };
    EXPECT_EQ(set(gone), Error::none);
    EXPECT_GE(host.ways_given, 16u);
    EXPECT_EQ(*touch(0, false), FaultResult::mmio);
}

TEST_F(StretchTest, so_does_what_the_owner_unmaps) {
    std::vector<bool> last;
    host.on_give_way = [this, &last] { last.push_back(mapped(count - 1)); };
    vm->memory.unmap_hva(hva(1), hva(count), true);
    EXPECT_EQ(last, (std::vector<bool>(16, true)));
    EXPECT_TRUE(mapped(0));
    for (const std::uint64_t n : {stretch, 9 * stretch - 1, count - 1})
        EXPECT_FALSE(mapped(n)) << n;
}

TEST_F(StretchTest, without_giving_way_where_the_owner_may_not_sleep) {
    vm->memory.unmap_hva(0, ~0ull, false);
    EXPECT_EQ(host.ways_given, 0u);
    EXPECT_FALSE(mapped(0) || mapped(count - 1));
}

// The same memory in two slots: every one of its places loses it.
TEST_F(StretchTest, both_slots_of_one_memory) {
    hwv_memory low{.slot = 1, .gpa = 0, .size = 16 * page_bytes, .hva = hva(8)};
    ASSERT_EQ(set(low), Error::none);
    FaultAccess access{};
    access.gpa = 0x1000;
    ASSERT_EQ(*vm->memory.fault(access, nullptr, vcpu->slot_cache, vcpu->spare),
              FaultResult::mapped);
    ASSERT_EQ(*touch(9, false), FaultResult::mapped);
    vm->memory.unmap_hva(hva(9), hva(10), true);
    EXPECT_FALSE(mapped(9));
    EXPECT_EQ(host.ways_given, 0u);
    vm->memory.unmap_hva(0, ~0ull, true);
    EXPECT_FALSE(mapped(count - 1));
}

TEST_F(MemoryTest, a_fault_maps_a_page_of_the_owner) {
    create();
    const auto r = touch(5, true);
    ASSERT_TRUE(r);
    EXPECT_EQ(*r, FaultResult::mapped);
    EXPECT_EQ(host.faults_in, 1u);
    EXPECT_EQ(host.faults_done, 1u);
    EXPECT_EQ(host.faults_written, 1u);
    EXPECT_TRUE(vm->memory.age_hva(hva(5), hva(6), false));
    EXPECT_FALSE(vm->memory.age_hva(hva(6), hva(7), false));
}

TEST_F(MemoryTest, no_slot_is_a_device) {
    create();
    const auto r = touch(pages, false);
    ASSERT_TRUE(r);
    EXPECT_EQ(*r, FaultResult::mmio);
    EXPECT_EQ(host.faults_in, 0u);
}

TEST_F(MemoryTest, a_device_becomes_memory_with_its_slot) {
    EXPECT_EQ(*touch(0, false), FaultResult::mmio);
    create();
    EXPECT_EQ(*touch(0, false), FaultResult::mapped);
    hwv_memory gone = slot();
    gone.size = 0;
    EXPECT_EQ(set(gone), Error::none);
    EXPECT_EQ(*touch(0, false), FaultResult::mmio);
}

TEST_F(MemoryTest, writes_to_read_only_memory_are_a_device) {
    create(HWV_MEMORY_READONLY);
    EXPECT_EQ(*touch(0, true), FaultResult::mmio);
    EXPECT_EQ(*touch(0, false), FaultResult::mapped);
    const std::uint64_t word = 7;
    EXPECT_EQ(vm->memory.write(base, &word, 8, vcpu->slot_cache).error(), Error::fault);
    EXPECT_EQ(owner.get()[0], 0);
}

TEST_F(MemoryTest, an_invalidation_on_the_way_starts_again) {
    create();
    host.stale = 1;
    EXPECT_EQ(*touch(1, true), FaultResult::again);
    EXPECT_EQ(host.faults_in, 1u) << "spins on the CPU that the owner may wait for";
    EXPECT_EQ(host.faults_done, 1u) << "a reference is left behind";
    EXPECT_EQ(host.faults_written, 0u) << "a page that was not mapped is called dirty";
    EXPECT_FALSE(vm->memory.age_hva(hva(0), hva(pages), false));
    EXPECT_EQ(*touch(1, true), FaultResult::mapped);
    EXPECT_EQ(host.faults_done, 2u);
    EXPECT_EQ(host.faults_written, 1u);
}

TEST_F(MemoryTest, a_slot_that_changes_on_the_way_is_looked_up_again) {
    create();
    host.on_fault_in = [this] {
        host.on_fault_in = nullptr;
        EXPECT_EQ(set(slot(HWV_MEMORY_READONLY)), Error::none);
    };
    EXPECT_EQ(*touch(1, true), FaultResult::again);
    EXPECT_EQ(*touch(1, true), FaultResult::mmio);
    EXPECT_EQ(host.faults_done, 1u);
    EXPECT_FALSE(vm->memory.age_hva(hva(0), hva(pages), false));
}

// Over huge pages of the host's.
class HugeMemoryTest : public MemoryTest {
  protected:
    static constexpr std::uint64_t block = 512, blocks = 3;

    void SetUp() override {
        MemoryTest::SetUp();
        constexpr std::size_t bytes = blocks * block * page_bytes;
        owner.reset(static_cast<std::uint8_t *>(std::aligned_alloc(block * page_bytes, bytes)));
        host.fault_level = 2;
        host.facts.nx_huge_pages = 1;
        create();
    }
    void create(std::uint32_t flags = 0) {
        hwv_memory all = slot(flags);
        all.size = blocks * block * page_bytes;
        ASSERT_EQ(set(all), Error::none);
    }
    void fault(std::uint64_t page_number, bool write, bool fetch) {
        FaultAccess access{};
        access.gpa = base + page_number * page_bytes;
        access.write = write;
        access.fetch = fetch;
        ASSERT_EQ(*vm->memory.fault(access, nullptr, vcpu->slot_cache, vcpu->spare),
                  FaultResult::mapped);
    }
    // What the CPU finds for a page, as letters: how large (4, 2; or nothing), and w and x.
    std::string leaf(std::uint64_t page_number) {
        const npt::NptFormat format;
        std::uint64_t at = vm->memory.root_pointer();
        const std::uint64_t gfn = (base >> 12) + page_number;
        for (unsigned level = 4;; --level) {
            const std::uint64_t entry =
                reinterpret_cast<std::uint64_t *>(at)[gfn >> (9 * (level - 1)) & 511];
            if (!format.present(entry)) return "";
            at = format.address(entry);
            if (level > 3 || !format.is_leaf(entry, level)) continue;
            const std::uint64_t within = gfn & (npt::pages(level) - 1);
            EXPECT_EQ(at + within * page_bytes, hva(page_number)) << "another frame";
            return std::string{level == 1 ? "4" : "2"} + (format.perms(entry).write ? "w" : "") +
                   (format.perms(entry).exec ? "x" : "");
        }
    }
};

TEST_F(HugeMemoryTest, large_and_executable_where_the_cpu_can) {
    host.facts.nx_huge_pages = 0;
    fault(7, false, true);
    EXPECT_EQ(leaf(511), "2wx");
}

TEST_F(HugeMemoryTest, data_is_large_and_not_executable) {
    fault(7, true, false);
    EXPECT_EQ(leaf(7), "2w");
    EXPECT_EQ(leaf(511), "2w");
    EXPECT_EQ(leaf(512), "");
}

TEST_F(HugeMemoryTest, what_is_executed_becomes_small_and_the_whole_block_executable) {
    fault(512, true, false);
    fault(600, false, true);
    for (const std::uint64_t n : {512, 600, 601, 1023})
        EXPECT_EQ(leaf(n), "4wx") << n;
    EXPECT_TRUE(vcpu->asked()) << "translations of two sizes";
    EXPECT_EQ(leaf(511), "");
    EXPECT_EQ(leaf(1024), "");
}

TEST_F(HugeMemoryTest, what_is_executed_first_is_small_at_once) {
    fault(1, false, true);
    EXPECT_EQ(leaf(0), "4wx");
    EXPECT_EQ(leaf(511), "4wx");
    EXPECT_FALSE(vcpu->asked());
}

TEST_F(HugeMemoryTest, a_write_to_what_is_executed_keeps_it_small) {
    host.fault_writable = false;
    fault(1, false, true);
    EXPECT_EQ(leaf(1), "4x");
    host.fault_writable = true;
    fault(1, true, false);
    EXPECT_EQ(leaf(1), "4wx");
    EXPECT_EQ(leaf(2), "4x");
}

TEST_F(HugeMemoryTest, an_invalidation_forgets_that_it_was_executed) {
    fault(1, false, true);
    vm->memory.unmap_hva(hva(0), hva(block), true);
    EXPECT_EQ(leaf(1), "");
    fault(1, false, false);
    EXPECT_EQ(leaf(1), "2w");
}

TEST_F(HugeMemoryTest, a_dirty_log_has_small_leaves) {
    create(HWV_MEMORY_LOG_DIRTY);
    fault(1, true, false);
    EXPECT_EQ(leaf(1), "4wx");
    EXPECT_EQ(leaf(2), "");
}

TEST_F(MemoryTest, an_error_of_the_host_maps_nothing) {
    create();
    host.fault_error = -133; // EHWPOISON
    const auto r = touch(1, false);
    EXPECT_EQ(to_errno(r.error()), -133);
    EXPECT_FALSE(vm->memory.age_hva(hva(0), hva(pages), false));
}

TEST_F(MemoryTest, the_hosts_error_leaves_to_user) {
    create();
    host.fault_error = -133;
    exits(fault_exit(base + 0x10, false));
    ASSERT_EQ(run(), 0);
    EXPECT_EQ(page.exit.reason, unsigned{HWV_EXIT_ERROR});
    EXPECT_EQ(page.exit.error.code, unsigned{HWV_ERROR_MEMORY});
    EXPECT_EQ(page.exit.error.code2, -133);
    EXPECT_EQ(page.exit.error.detail, base + 0x10);
}

TEST_F(MemoryTest, an_unmapped_page_is_flushed_and_its_dirty_bit_kept) {
    create();
    EXPECT_EQ(*touch(1, true), FaultResult::mapped);
    EXPECT_EQ(*touch(2, false), FaultResult::mapped);
    const bool before = vcpu->asked();
    vm->memory.unmap_hva(hva(1), hva(3), true);
    EXPECT_FALSE(before);
    EXPECT_TRUE(vcpu->asked());
    EXPECT_EQ(host.dirty_pfns, Words{hva(1) >> 12});
    EXPECT_FALSE(vm->memory.age_hva(hva(0), hva(pages), false));
}

TEST_F(MemoryTest, aging_clears_the_bit) {
    create();
    EXPECT_EQ(*touch(1, false), FaultResult::mapped);
    EXPECT_TRUE(vm->memory.age_hva(hva(1), hva(2), false));
    EXPECT_TRUE(vm->memory.age_hva(hva(1), hva(2), true));
    EXPECT_FALSE(vm->memory.age_hva(hva(1), hva(2), true));
}

TEST_F(MemoryTest, dirty_log_of_guest_and_kernel) {
    create(HWV_MEMORY_LOG_DIRTY);
    EXPECT_EQ(log(), (Words{0, 0, 0}));
    EXPECT_EQ(*touch(1, true), FaultResult::mapped);
    EXPECT_EQ(*touch(2, false), FaultResult::mapped);
    EXPECT_EQ(*touch(129, true), FaultResult::mapped);
    const std::uint64_t word = 7; // over the border of pages 63 and 64
    ASSERT_TRUE(vm->memory.write(base + 64 * page_bytes - 4, &word, 8, vcpu->slot_cache));
    EXPECT_EQ(log(64, 64), Words{1});
    EXPECT_EQ(log(), (Words{1ull << 63 | 2, 0, 2}));
    EXPECT_EQ(log(), (Words{0, 0, 0}));
}

// Before Haswell: only the right to write tells.
TEST_F(MemoryTest, dirty_log_without_dirty_bits) {
    PagedMemory<npt::EptFormat> old{*vm, {npt::EptFormat{}, 4}};
    ASSERT_TRUE(old.init());
    ASSERT_TRUE(old.set_memory(slot(HWV_MEMORY_LOG_DIRTY)));
    SlotCache cache;
    const auto touch = [&](std::uint64_t page_number, bool write) {
        FaultAccess access{};
        access.gpa = base + page_number * page_bytes;
        access.write = write;
        EXPECT_EQ(*old.fault(access, nullptr, cache, vcpu->spare), FaultResult::mapped);
    };
    const auto log = [&] {
        std::uint64_t words[3];
        EXPECT_TRUE(old.harvest({.slot = 3, .pages = pages}, words));
        return words[0];
    };
    touch(1, false);
    touch(2, true);
    EXPECT_EQ(log(), 1u << 2);
    EXPECT_EQ(log(), 0u);
    touch(1, true);
    touch(2, false); // as a read before it would: not written
    EXPECT_EQ(log(), 1u << 1);
}

TEST_F(MemoryTest, the_log_outlives_the_mapping) {
    create(HWV_MEMORY_LOG_DIRTY);
    EXPECT_EQ(*touch(1, true), FaultResult::mapped);
    vm->memory.unmap_hva(hva(1), hva(2), true);
    EXPECT_EQ(log(0, 64), Words{2});
}

TEST_F(MemoryTest, ranges_of_the_log) {
    create(HWV_MEMORY_LOG_DIRTY);
    std::uint64_t words[3];
    const auto harvest = [&](hwv_dirty_log request) {
        return vm->memory.harvest(request, words).error();
    };
    EXPECT_EQ(harvest({.slot = 3, .first = 128, .pages = 2}), Error::none);
    EXPECT_EQ(harvest({.slot = 3, .first = 128, .pages = 1}), Error::invalid);
    EXPECT_EQ(harvest({.slot = 3, .first = 128, .pages = 3}), Error::invalid);
    EXPECT_EQ(harvest({.slot = 3, .first = 1, .pages = 64}), Error::invalid);
    EXPECT_EQ(harvest({.slot = 3, .first = 192, .pages = 0}), Error::invalid);
    EXPECT_EQ(harvest({.slot = 3, .first = 64, .pages = ~0ull - 63}), Error::invalid);
    EXPECT_EQ(harvest({.slot = 3, .flags = 1, .pages = 64}), Error::invalid);
    EXPECT_EQ(harvest({.slot = 4, .pages = 64}), Error::not_found);
    ASSERT_EQ(set(slot()), Error::none);
    EXPECT_EQ(harvest({.slot = 3, .pages = 64}), Error::not_found);
}

TEST_F(MemoryTest, reads_end_where_memory_ends) {
    create();
    for (std::uint64_t i = 0; i < 8; ++i)
        owner.get()[pages * page_bytes - 8 + i] = static_cast<std::uint8_t>(i + 1);
    const std::uint64_t end = base + pages * page_bytes;
    std::uint64_t word = 0;
    ASSERT_TRUE(vm->memory.read(end - 8, &word, 8, vcpu->slot_cache));
    EXPECT_EQ(word, 0x0807'0605'0403'0201u);
    EXPECT_EQ(vm->memory.read(end - 4, &word, 8, vcpu->slot_cache).error(), Error::fault);
}

} // namespace
