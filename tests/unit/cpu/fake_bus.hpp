// SPDX-License-Identifier: GPL-2.0-only
// fake_bus.hpp - some local APICs on a bus that remembers whom it woke.
#pragma once
#include <memory>
#include <vector>
#include "cpu/apic.hpp"

namespace fake {

struct Bus {
    explicit Bus(unsigned count) {
        for (unsigned id = 0; id < count; ++id) {
            apics.push_back(std::make_unique<hwv::cpu::LocalApic>(id, nullptr));
            apics.back()->reset();
        }
    }

    unsigned size() const { return static_cast<unsigned>(apics.size()); }
    hwv::cpu::LocalApic *apic(unsigned id) { return id < size() ? apics[id].get() : nullptr; }
    void notify(hwv::cpu::LocalApic &apic) { woken.push_back(apic.id()); }
    std::atomic<std::uint32_t> &turn() { return next; }
    void yield_to(unsigned id) { favoured.push_back(id); }

    void enable_all() {
        for (auto &apic : apics)
            if (apic) apic->write(0xf0, 0x1ff);
    }
    void all_x2apic() {
        for (auto &apic : apics)
            if (apic) apic->set_base(apic->base() | hwv::cpu::LocalApic::base_extended);
    }
    // Ids of the APICs that have `vector` now, each taken and ended.
    std::vector<unsigned> who_has(std::uint8_t vector) {
        std::vector<unsigned> ids;
        for (auto &apic : apics) {
            if (!apic || apic->pending() != vector) continue;
            ids.push_back(apic->id());
            apic->acknowledge(vector);
            apic->end_of_interrupt();
        }
        return ids;
    }

    std::vector<std::unique_ptr<hwv::cpu::LocalApic>> apics;
    std::vector<unsigned> woken, favoured;
    std::atomic<std::uint32_t> next{0};
};

} // namespace fake
