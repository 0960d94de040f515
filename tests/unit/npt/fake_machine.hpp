// SPDX-License-Identifier: GPL-2.0-only
// Physical memory that sees every write of the engine, and a processor that walks it.
#pragma once

#include "hw_formats.hpp"
#include "npt/table.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <vector>

namespace npt_test {

// Page frames at addresses that are no pointers. What the engine writes goes into `data` and
// `shadow`; a write past the Memory policy would show as a difference between the two.
class FakeMachine {
  public:
    static constexpr std::uint64_t base = 0x1a'bc00'0000;

    std::function<void(std::uint64_t *entry)>
        before_access; // the hardware acts between any two accesses
    std::function<void(std::uint64_t pa)> after_write;
    std::uint64_t writes = 0;

    std::uint64_t *at(std::uint64_t pa) {
        const std::uint64_t i = (pa - base) / page_size;
        if (pa % page_size || i >= frames_.size() || !frames_[i]->used) {
            ADD_FAILURE() << "no table page at " << std::hex << pa;
            return frames_[0]->data.data();
        }
        return frames_[i]->data.data();
    }

    std::uint64_t read(std::uint64_t *entry) const { return *entry; }

    // A write of the engine (through the policy) or of the hardware.
    void write(std::uint64_t *entry, std::uint64_t value) {
        Frame &frame = owner(entry);
        *entry = value;
        frame.shadow[static_cast<std::size_t>(entry - frame.data.data())] = value;
    }
    void engine_write(std::uint64_t *entry, std::uint64_t value) {
        write(entry, value);
        ++writes;
        if (after_write) after_write(owner(entry).pa);
    }

    TablePage allocate() {
        for (auto &frame : frames_) {
            if (!frame->used) return reuse(*frame);
        }
        frames_.push_back(std::make_unique<Frame>());
        frames_.back()->pa = base + (frames_.size() - 1) * page_size;
        by_data_[frames_.back()->data.data()] = frames_.back().get();
        return reuse(*frames_.back());
    }

    void release(const TablePage &page) {
        Frame &frame = owner(page.va);
        EXPECT_TRUE(frame.used) << "freed twice";
        EXPECT_EQ(frame.data, Contents{}) << "freed with contents";
        frame.used = false;
    }

    std::size_t used() const {
        std::size_t count = 0;
        for (const auto &frame : frames_)
            count += frame->used;
        return count;
    }

    std::uint64_t page_of(const std::uint64_t *entry) const { return owner(entry).pa; }

    void expect_only_policy_writes() const {
        for (const auto &frame : frames_)
            EXPECT_EQ(frame->data, frame->shadow);
    }

  private:
    using Contents = std::array<std::uint64_t, entries_per_table>;
    struct Frame {
        std::uint64_t pa = 0;
        bool used = false;
        Contents data{};
        Contents shadow{};
    };

    static TablePage reuse(Frame &frame) {
        frame.used = true;
        return {frame.data.data(), frame.pa};
    }

    Frame &owner(const std::uint64_t *entry) const {
        const auto frame = by_data_.upper_bound(entry);
        if (frame != by_data_.begin() && entry - std::prev(frame)->first < 512)
            return *std::prev(frame)->second;
        ADD_FAILURE() << "access outside any page";
        return *frames_.front();
    }

    std::vector<std::unique_ptr<Frame>> frames_;
    std::map<const std::uint64_t *, Frame *> by_data_;
};

// The engine's Memory policy over it.
struct FakeMemory {
    FakeMachine *machine;

    std::uint64_t *at(std::uint64_t pa) const { return machine->at(pa); }
    std::uint64_t load(std::uint64_t *entry) const {
        act(entry);
        return machine->read(entry);
    }
    void store(std::uint64_t *entry, std::uint64_t value) const {
        act(entry);
        machine->engine_write(entry, value);
    }
    std::uint64_t exchange(std::uint64_t *entry, std::uint64_t value) const {
        act(entry);
        const std::uint64_t old = machine->read(entry);
        machine->engine_write(entry, value);
        return old;
    }
    bool compare_exchange(std::uint64_t *entry, std::uint64_t &expected,
                          std::uint64_t value) const {
        act(entry);
        if (machine->read(entry) != expected) {
            expected = machine->read(entry);
            return false;
        }
        machine->engine_write(entry, value);
        return true;
    }

  private:
    void act(std::uint64_t *entry) const {
        if (machine->before_access) machine->before_access(entry);
    }
};

struct FakeSource {
    FakeMachine *machine;
    unsigned budget = 1000;
    unsigned taken = 0;

    std::optional<TablePage> take() {
        if (taken == budget) return std::nullopt;
        ++taken;
        return machine->allocate();
    }
};

// What a walk of the hardware ends at.
struct HwLeaf {
    std::uint64_t *entry = nullptr;
    unsigned level = 0;
    std::uint64_t pfn = 0; // of the 4 KiB page asked for
    Perms perms{};
};

// From the table of this level on; `pass` sees each table below it on the way.
template <typename Kind, typename Pass>
std::optional<HwLeaf> hardware_walk(FakeMachine &machine, std::uint64_t table_pa, unsigned level,
                                    std::uint64_t gfn, Pass pass) {
    Perms perms = perms_all;
    for (;; --level) {
        std::uint64_t *entry = machine.at(table_pa) + ((gfn >> (9 * (level - 1))) & 511);
        const HwEntry seen = Kind::decode(machine.read(entry), level);
        if (!seen.present) return std::nullopt;
        EXPECT_TRUE(seen.legal) << "level " << level << " entry " << std::hex << *entry;
        perms = perms & seen.perms;
        if (seen.leaf) {
            const std::uint64_t offset = gfn & ((1ull << (9 * (level - 1))) - 1);
            return HwLeaf{entry, level, (seen.pa >> 12) + offset, perms};
        }
        table_pa = seen.pa;
        pass(table_pa, level - 1);
    }
}

template <typename Kind>
std::uint64_t root_pa(std::uint64_t root_pointer) {
    return (root_pointer & 0x000f'ffff'ffff'f000) & ~Kind::mask;
}

// A table with all that it needs, and the hardware's view of it.
template <typename Kind>
struct Fixture {
    FakeMachine machine;
    FakeSource source{&machine};
    FakeMemory memory{&machine};
    Table<typename Kind::Format, FakeMemory> table{Kind::format(), memory, Kind::depth};
    Gather<FakeMemory> gather{memory};
    std::vector<Leaf> removed;

    Fixture() { EXPECT_TRUE(table.init(source)); }

    auto collect() {
        return [this](const Leaf &leaf) { removed.push_back(leaf); };
    }
    std::uint64_t root() const { return root_pa<Kind>(table.root_pointer()); }
    std::optional<HwLeaf> hw(std::uint64_t gfn) {
        return hardware_walk<Kind>(machine, root(), Kind::depth, gfn,
                                   [](std::uint64_t, unsigned) {});
    }
    MapResult map(Leaf leaf) { return table.map(leaf, source, gather, collect()); }
    MapResult map_block(Leaf leaf) { return table.map_block(leaf, source, gather, collect()); }
    void unmap(GfnRange range, Empty empty = Empty::keep) {
        table.unmap(range, source, gather, collect(), empty);
    }
    // The hardware reads or writes: sets the bits that it would set.
    bool touch(std::uint64_t gfn, bool write) {
        const auto leaf = hw(gfn);
        if (!leaf || (write && !leaf->perms.write)) return false;
        const std::uint64_t bits = Kind::accessed | (write ? Kind::dirty : 0);
        if (Kind::tracks) machine.write(leaf->entry, *leaf->entry | bits);
        return true;
    }
    unsigned flush() {
        unsigned freed = 0;
        for (; auto page = gather.freed.pop(); ++freed)
            machine.release(*page);
        gather.flush_needed = false;
        return freed;
    }
};

} // namespace npt_test
