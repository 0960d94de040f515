// SPDX-License-Identifier: GPL-2.0-only
// slots.cpp - memory slots seen by the guest: read-only ones, none, deleted and moved ones, and
// accesses over the end of one.
#include <atomic>
#include <chrono>
#include <thread>
#include "conformance/machine.hpp"

namespace conformance {
namespace {

constexpr std::uint64_t at_slot = 0x400000, page = 4096;
constexpr std::uint32_t slot = 5;
constexpr std::uint64_t interrupts = 1u << 9;

GUEST64(load_one, "movl (%rdx), %ecx\nhlt")
GUEST64(store_one, "movl %ecx, (%rdx)\nhlt")

void start(Machine &m, const Text &text, std::uint64_t address) {
    m.start(Mode::long64, text.bytes(64), [address](hwv_regs &r, std::span<std::uint8_t>) {
        r.gpr[HWV_RDX] = address;
        r.gpr[HWV_RCX] = 0x11223344;
        r.rflags |= interrupts; // Bochs: see bochs::no_host_interrupt
    });
}

std::string is_mmio(const hwv_exit &e, std::uint64_t gpa, bool write) {
    if (e.reason != HWV_EXIT_MMIO) return std::string{"left by "} + hwv::exit_name(e.reason);
    if (e.mmio.gpa != gpa || e.mmio.write != write || e.mmio.size != 4 || !e.mmio.decoded)
        return "MMIO of " + std::to_string(e.mmio.size) + " at " + hex(e.mmio.gpa);
    return write && e.mmio.data != 0x11223344 ? "MMIO writes " + hex(e.mmio.data) : "";
}

// One access that leaves, is answered and ends at the HLT behind it.
std::string leaves(Machine &m, std::uint64_t address, bool write) {
    start(m, write ? store_one : load_one, address);
    if (std::string w = is_mmio(m.run(), address, write); !w.empty()) return w;
    m.vcpu.reply().data = 0x87654321;
    if (std::string w = m.run_to_halt(); !w.empty()) return w;
    const std::uint64_t wanted = write ? 0x11223344 : 0x87654321, got = m.regs().gpr[HWV_RCX];
    return got == wanted ? "" : "RCX is " + hex(got);
}

// One access that is served from the slot.
std::string serves(Machine &m, std::uint64_t address, std::uint32_t value) {
    start(m, load_one, address);
    if (std::string w = m.run_to_halt(); !w.empty()) return w;
    const std::uint64_t got = m.regs().gpr[HWV_RCX];
    return got == value ? "" : hex(address) + " holds " + hex(got);
}

std::string read_only() {
    Machine m;
    HostMemory memory{4 * page};
    store(memory.bytes(), 0x10, 0xcafef00d, 4);
    m.vm.set_memory(slot, HWV_MEMORY_READONLY, at_slot, 4 * page, memory.bytes().data());
    for (int round = 0; round < 2; ++round) {
        if (std::string w = leaves(m, at_slot + 0x10, true); !w.empty()) return w;
        if (std::string w = serves(m, at_slot + 0x10, 0xcafef00d); !w.empty()) return w;
    }
    m.vm.set_memory(slot, 0, at_slot, 4 * page, memory.bytes().data());
    start(m, store_one, at_slot + 0x10);
    if (std::string w = m.run_to_halt(); !w.empty()) return w;
    if (load(memory.bytes(), 0x10, 4) != 0x11223344) return "the writable slot was not written";
    m.vm.set_memory(slot, HWV_MEMORY_READONLY, at_slot, 4 * page, memory.bytes().data());
    return leaves(m, at_slot + 0x10, true);
}

// Between, behind and far beyond slots.
std::string no_slot() {
    Machine m;
    HostMemory memory{page};
    m.vm.set_memory(slot, 0, at_slot, page, memory.bytes().data());
    for (std::uint64_t address : {at_slot - 4, at_slot + page, std::uint64_t{0x200000},
                                  std::uint64_t{0xfec00000}, std::uint64_t{0xfffffffc}})
        for (bool write : {false, true})
            if (std::string w = leaves(m, address, write); !w.empty())
                return hex(address) + ": " + w;
    return serves(m, at_slot, 0);
}

std::string deleted() {
    Machine m;
    HostMemory memory{2 * page};
    store(memory.bytes(), 0, 0xfeedbeef, 4);
    for (int round = 0; round < 3; ++round) {
        m.vm.set_memory(slot, 0, at_slot, 2 * page, memory.bytes().data());
        if (std::string w = serves(m, at_slot, 0xfeedbeef); !w.empty()) return w;
        m.vm.delete_memory(slot);
        if (std::string w = leaves(m, at_slot, round & 1); !w.empty()) return w;
    }
    return {};
}

std::string moved() {
    Machine m;
    HostMemory memory{2 * page};
    store(memory.bytes(), 0, 0xfeedbeef, 4);
    std::uint64_t before = 0x40000000;
    for (std::uint64_t gpa : {at_slot, at_slot + page, at_slot + 0x800000, at_slot}) {
        m.vm.set_memory(slot, 0, gpa, 2 * page, memory.bytes().data());
        if (std::string w = serves(m, gpa, 0xfeedbeef); !w.empty()) return w;
        if (before >= gpa && before < gpa + 2 * page) continue;
        if (std::string w = leaves(m, before, false); !w.empty()) return w;
        before = gpa;
    }
    return {};
}

// Writes its counter and reads it back, for ever; what leaves it are accesses without a slot.
GUEST64(hammer, "1: incl %ecx\nmovl %ecx, (%rdx)\nmovl (%rdx), %eax\njmp 1b")

bool wait_for_write(std::span<std::uint8_t> memory) {
    const volatile std::uint8_t &byte = memory[0];
    const std::uint8_t before = byte;
    for (int n = 0; n < 1000 && byte == before; ++n)
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
    return byte != before;
}

// Another thread takes the slot away and gives it back while the guest touches it.
std::string under_way(bool move) {
    Machine m;
    HostMemory memory{2 * page};
    m.vm.set_memory(slot, 0, at_slot, 2 * page, memory.bytes().data());
    start(m, hammer, at_slot);
    std::atomic<bool> done{false}, waited{false};
    std::thread changer{[&] {
        for (int n = 0; n < 100; ++n) {
            if (move)
                m.vm.set_memory(slot, 0, at_slot + 0x800000, 2 * page, memory.bytes().data());
            else
                m.vm.delete_memory(slot);
            std::this_thread::yield();
            m.vm.set_memory(slot, 0, at_slot, 2 * page, memory.bytes().data());
        }
        waited = wait_for_write(memory.bytes());
        done = true;
        m.vcpu.kick();
    }};
    std::string wrong;
    while (wrong.empty()) {
        const hwv_exit e = m.run();
        if (e.reason == HWV_EXIT_KICKED && done) break;
        if (e.reason == HWV_EXIT_MMIO && e.mmio.gpa == at_slot && e.mmio.decoded) continue;
        wrong = std::string{"left by "} + hwv::exit_name(e.reason);
    }
    changer.join();
    if (wrong.empty() && !waited) wrong = "the guest writes no more to the slot that is back";
    const std::uint64_t count = m.regs().gpr[HWV_RCX] & 0xffffffff;
    if (wrong.empty() && count - load(memory.bytes(), 0, 4) > 1)
        wrong = "the last value written is not in the slot";
    return wrong;
}

const Topic slots{"memory/slots", [] {
                      add("SLOT/read_only", read_only);
                      add("SLOT/none", no_slot);
                      add("SLOT/deleted", deleted);
                      add("SLOT/moved", moved);
                      add("SLOT/deleted_under_way", [] { return under_way(false); });
                      add("SLOT/moved_under_way", [] { return under_way(true); });
                  }};

} // namespace
} // namespace conformance
