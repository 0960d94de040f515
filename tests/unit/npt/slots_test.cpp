// SPDX-License-Identifier: GPL-2.0-only
// Memory slots: the table of boundaries, and a model of intervals.
#include "npt/slots.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <vector>

namespace npt_test {
namespace {

using namespace hwv::npt;

constexpr std::uint64_t page = 0x1000;
constexpr std::uint64_t gpa_limit = 1ull << 40;
constexpr std::uint64_t hva_limit = 0x7fff'ffff'f000;
constexpr std::uint64_t hva = 0x7f00'0000'0000;

class SlotsTest : public testing::Test {
  protected:
    // On the heap, as the kernel has to.
    std::unique_ptr<MemorySlots> slots_ = std::make_unique<MemorySlots>(gpa_limit, hva_limit);
    MemorySlots &slots = *slots_;

    int id_at(std::uint64_t gfn) const {
        const MemorySlot *slot = slots_->find(gfn);
        return slot ? static_cast<int>(slot->id) : -1;
    }
};

TEST_F(SlotsTest, AcceptsTheBoundaries) {
    EXPECT_EQ(slots.set({0, 0, 0, page, 0}), SlotError::none);
    EXPECT_EQ(slots.set({511, 3, gpa_limit - page, page, hva_limit - page}), SlotError::none);
    EXPECT_EQ(slots.size(), 2u);
    EXPECT_EQ(id_at(0), 0);
    EXPECT_EQ(id_at((gpa_limit >> 12) - 1), 511);
    EXPECT_EQ(slots.find(1), nullptr);
    EXPECT_EQ(slots.find(gpa_limit >> 12), nullptr);
    EXPECT_EQ(slots.find(~0ull), nullptr);
    EXPECT_EQ(slots.find(1ull << 52), nullptr) << "shifting up must not wrap to frame 0";
}

TEST_F(SlotsTest, AcceptsASlotOfEverything) {
    EXPECT_EQ(slots.set({1, 0, 0, gpa_limit, 0}), SlotError::none);
    EXPECT_EQ(id_at((gpa_limit >> 12) - 1), 1);
    EXPECT_EQ(slots.set({2, 0, 0, page, 0}), SlotError::overlap);
}

struct Refusal {
    MemorySlot slot;
    SlotError error;
};

TEST_F(SlotsTest, RefusesByName) {
    slots.set({7, 0, 16 * page, 16 * page, hva});
    constexpr std::uint64_t top = ~0ull & ~(page - 1);
    const Refusal refusals[] = {
        {{512, 0, 0, page, hva}, SlotError::bad_id},
        {{~0u, 0, 0, page, hva}, SlotError::bad_id},
        {{1, 4, 0, page, hva}, SlotError::bad_flags},
        {{1, 0x8000'0000, 0, page, hva}, SlotError::bad_flags},
        {{1, 0, 1, page, hva}, SlotError::misaligned},
        {{1, 0, 0, page + 1, hva}, SlotError::misaligned},
        {{1, 0, 0, page, hva + 0x800}, SlotError::misaligned},
        {{1, 0, 0, 0, hva}, SlotError::not_found},
        {{1, 0, gpa_limit, page, hva}, SlotError::gpa_range},
        {{1, 0, page, gpa_limit, hva}, SlotError::gpa_range},
        {{1, 0, 0, gpa_limit + page, 0}, SlotError::gpa_range},
        {{1, 0, top, page, hva}, SlotError::gpa_range},
        {{1, 0, page, top, hva}, SlotError::gpa_range},
        {{1, 0, top, top, hva}, SlotError::gpa_range},
        {{1, 0, 0, page, hva_limit}, SlotError::hva_range},
        {{1, 0, 0, 2 * page, hva_limit - page}, SlotError::hva_range},
        {{1, 0, 0, page, top}, SlotError::hva_range},
        {{1, 0, 16 * page, page, hva}, SlotError::overlap},
        {{1, 0, 31 * page, page, hva}, SlotError::overlap},
        {{1, 0, 15 * page, 2 * page, hva}, SlotError::overlap},
        {{1, 0, 15 * page, 64 * page, hva}, SlotError::overlap},
        {{7, 0, 16 * page, page, hva}, SlotError::resized},
        {{7, 0, 16 * page, 16 * page, hva + page}, SlotError::resized},
        {{7, 0, gpa_limit, 16 * page, hva}, SlotError::gpa_range},
        {{7, 4, 16 * page, 16 * page, hva}, SlotError::bad_flags},
    };
    for (const Refusal &refusal : refusals)
        EXPECT_EQ(slots.set(refusal.slot), refusal.error) << std::hex << refusal.slot.gpa;
    EXPECT_EQ(*slots.find_id(7), (MemorySlot{7, 0, 16 * page, 16 * page, hva}));
    EXPECT_EQ(slots.size(), 1u);
    EXPECT_EQ(slots.set({1, 0, 15 * page, page, hva}), SlotError::none);
    EXPECT_EQ(slots.set({2, 0, 32 * page, page, hva}), SlotError::none);
}

TEST_F(SlotsTest, RemoveMoveAndFlags) {
    MemorySlot one{1, 0, 0, 4 * page, hva};
    const auto move = [&](std::uint64_t gpa) {
        MemorySlot moved = one;
        moved.gpa = gpa;
        EXPECT_EQ(slots.check_set(moved), MemorySlots{slots}.set(moved));
        const SlotError error = slots.set(moved);
        if (error == SlotError::none) one = moved;
        return error;
    };
    const auto remove = [&](std::uint32_t id) { return slots.set({id, 0, 0, 0, 0}); };
    slots.set(one);
    slots.set({2, 0, 8 * page, 4 * page, hva + 4 * page});
    EXPECT_EQ(move(8 * page), SlotError::overlap);
    EXPECT_EQ(move(2 * page), SlotError::none) << "it may overlap itself";
    EXPECT_EQ(move(6 * page), SlotError::overlap);
    EXPECT_EQ(move(12 * page), SlotError::none) << "and pass its neighbour";
    EXPECT_EQ(slots.begin()[1].id, 1u);
    EXPECT_EQ(move(1), SlotError::misaligned);
    EXPECT_EQ(move(gpa_limit - page), SlotError::gpa_range);
    one.flags = MemorySlot::log_dirty | MemorySlot::read_only;
    EXPECT_EQ(slots.set(one), SlotError::none);
    ASSERT_TRUE(slots.find_id(1));
    EXPECT_TRUE(slots.find_id(1)->logs_dirty());
    EXPECT_FALSE(slots.find_id(1)->writable());
    EXPECT_EQ(remove(3), SlotError::not_found);
    EXPECT_EQ(slots.set({2, 4, 0, 0, 0}), SlotError::bad_flags);
    EXPECT_EQ(slots.set({2, 0, ~0ull << 12, 0, ~0ull << 12}), SlotError::none) << "wherever it is";
    EXPECT_EQ(slots.find(8), nullptr);
    EXPECT_EQ(slots.find_id(2), nullptr);
    ASSERT_EQ(id_at(12), 1);
    EXPECT_EQ(slots.find(12)->hva_of(13), hva + page);
}

TEST_F(SlotsTest, HoldsAsManyAsItSays) {
    for (std::uint32_t id = 0; id < MemorySlots::max_slots; ++id)
        ASSERT_EQ(slots.set({id, 0, (511 - id) * 2 * page, page, hva}), SlotError::none);
    for (std::uint32_t id = 0; id < MemorySlots::max_slots; ++id)
        EXPECT_EQ(id_at((511 - id) * 2), static_cast<int>(id));
    EXPECT_EQ(slots.set({.id = 0}), SlotError::none);
    EXPECT_EQ(slots.set({.id = 511}), SlotError::none);
    EXPECT_EQ(slots.size(), 510u);
}

TEST_F(SlotsTest, FindsTheFramesOfHostAddresses) {
    slots.set({1, 0, 0, 4 * page, hva});
    slots.set({2, 0, 8 * page, 4 * page, hva + 2 * page}); // shares two pages with slot 1
    slots.set({3, 0, 16 * page, page, hva + 64 * page});
    const auto frames = [&](std::uint64_t first, std::uint64_t end) {
        std::vector<std::array<std::uint64_t, 3>> out;
        slots.each_by_hva(first, end, [&](const MemorySlot &slot, GfnRange range) {
            out.push_back({slot.id, range.first, range.end});
        });
        return out;
    };
    using Frames = std::vector<std::array<std::uint64_t, 3>>;
    EXPECT_EQ(frames(hva, hva + page), (Frames{{1, 0, 1}}));
    EXPECT_EQ(frames(hva + 3 * page, hva + 4 * page), (Frames{{1, 3, 4}, {2, 9, 10}}));
    EXPECT_EQ(frames(hva + page + 1, hva + page + 2), (Frames{{1, 1, 2}}));
    EXPECT_EQ(frames(hva + page - 1, hva + page + 1), (Frames{{1, 0, 2}}));
    EXPECT_EQ(frames(0, ~0ull), (Frames{{1, 0, 4}, {2, 8, 12}, {3, 16, 17}}));
    EXPECT_EQ(frames(hva + 6 * page, hva + 64 * page), Frames{});
    EXPECT_EQ(frames(hva + page, hva + page), Frames{});
}

// The slots as a map by id; everything else is searched by force.
class Model {
  public:
    static constexpr std::uint64_t frames = 64;

    bool set(const MemorySlot &slot) {
        if (!slot.size) return slots_.erase(slot.id);
        const auto old = slots_.find(slot.id);
        if (old != slots_.end() && (old->second.size != slot.size || old->second.hva != slot.hva))
            return false;
        if (!has_room(slot)) return false;
        slots_[slot.id] = slot;
        return true;
    }
    // A slot of this id to start from, if there is one.
    MemorySlot known(std::uint32_t id, const MemorySlot &otherwise) const {
        const auto old = slots_.find(id);
        return old == slots_.end() ? otherwise : old->second;
    }
    void expect_same(const MemorySlots &slots) const {
        ASSERT_EQ(slots.size(), slots_.size());
        for (std::uint64_t gfn = 0; gfn < frames; ++gfn) {
            const MemorySlot *expect = find(gfn);
            const MemorySlot *seen = slots.find(gfn);
            ASSERT_EQ(seen != nullptr, expect != nullptr) << "gfn " << gfn;
            if (seen) {
                ASSERT_EQ(*seen, *expect);
            }
        }
    }

  private:
    bool has_room(const MemorySlot &slot) const {
        for (const auto &[id, other] : slots_) {
            if (id != slot.id && slot.gpa < other.gpa + other.size &&
                other.gpa < slot.gpa + slot.size)
                return false;
        }
        return slot.gpa + slot.size <= frames * page;
    }
    const MemorySlot *find(std::uint64_t gfn) const {
        for (const auto &[id, slot] : slots_) {
            if (gfn * page >= slot.gpa && gfn * page < slot.gpa + slot.size) return &slot;
        }
        return nullptr;
    }

    std::map<std::uint32_t, MemorySlot> slots_;
};

TEST(SlotsModel, AgreesWithAMapById) {
    std::mt19937 random{20240811};
    const auto pick = [&](std::uint32_t below) { return std::uint32_t(random() % below); };
    MemorySlots slots{Model::frames * page, 1ull << 47};
    Model model;
    unsigned done = 0;
    for (unsigned step = 0; step < 20'000; ++step) {
        const MemorySlot any{pick(12), pick(4), pick(Model::frames) * page, (1 + pick(9)) * page,
                             pick(1000) * page};
        MemorySlot slot = pick(8) ? model.known(any.id, any) : any;
        if (pick(2)) slot.gpa = any.gpa;
        if (pick(2)) slot.flags = any.flags;
        if (pick(4) == 0) slot.size = 0;
        const bool expected = model.set(slot);
        const SlotError told = slots.check_set(slot), error = slots.set(slot);
        ASSERT_EQ(told, error);
        ASSERT_EQ(error == SlotError::none, expected) << "step " << step;
        done += expected;
        model.expect_same(slots);
        ASSERT_FALSE(testing::Test::HasFatalFailure()) << "step " << step;
    }
    EXPECT_GT(done, 5'000u);
}

} // namespace
} // namespace npt_test
