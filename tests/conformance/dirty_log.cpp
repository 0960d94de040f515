// SPDX-License-Identifier: GPL-2.0-only
// dirty_log.cpp - HWV_DIRTY_LOG shows exactly the pages that were written since it was last read.
#include <algorithm>
#include "conformance/machine.hpp"

namespace conformance {
namespace {

constexpr std::uint64_t at_logged = 0x400000, page = 4096;
constexpr unsigned pages = 600; // more than 2 MiB, and no multiple of 64
constexpr std::uint32_t logged_slot = 7;

using Pages = std::vector<unsigned>;

// Reads each page of the list at RSI, of RCX entries, then writes to those of the list at RDI.
GUEST64(touch, "jrcxz 2f\n"
               "1: lodsq\nmovb (%rax), %bl\nloop 1b\n"
               "2: movq %rdi, %rsi\nmovq %rdx, %rcx\njrcxz 4f\n"
               "3: lodsq\nincb 0x7f(%rax)\nloop 3b\n"
               "4: hlt")

std::uint64_t put_list(std::span<std::uint8_t> memory, std::uint64_t at, const Pages &list) {
    for (std::size_t i = 0; i < list.size(); ++i)
        store(memory, at + 8 * i, at_logged + list[i] * page, 8);
    return list.size();
}

std::string touch_pages(Machine &m, const Pages &read, const Pages &write) {
    m.start(Mode::long64, touch.bytes(64), [&](hwv_regs &r, std::span<std::uint8_t> memory) {
        r.gpr[HWV_RSI] = 0x20000;
        r.gpr[HWV_RDI] = 0x30000;
        r.gpr[HWV_RCX] = put_list(memory, 0x20000, read);
        r.gpr[HWV_RDX] = put_list(memory, 0x30000, write);
    });
    return m.run_to_halt();
}

Pages dirty(Machine &m, std::uint64_t first = 0, std::uint64_t count = pages) {
    std::vector<std::uint64_t> bits((count + 63) / 64, ~0ull);
    m.vm.dirty_log(logged_slot, first, count, bits);
    Pages out;
    for (unsigned i = 0; i < 64 * bits.size(); ++i)
        if (bits[i / 64] >> i % 64 & 1) out.push_back(static_cast<unsigned>(first) + i);
    return out;
}

std::string differ(const char *when, const Pages &got, const Pages &wanted) {
    if (got == wanted) return {};
    std::string text = std::string{when} + ":";
    for (unsigned n : got)
        text += " " + std::to_string(n);
    return text + (got.empty() ? " none" : "") + ", not " + std::to_string(wanted.size());
}

const Pages some{0, 1, 63, 64, 65, 127, 200, 511, 512, 513, 575, 576, 599};

Pages all_pages() {
    Pages out;
    for (unsigned n = 0; n < pages; ++n)
        out.push_back(n);
    return out;
}

std::string exact(bool huge) {
    Machine m;
    HostMemory memory{pages * page, huge};
    m.vm.set_memory(logged_slot, HWV_MEMORY_LOG_DIRTY, at_logged, pages * page,
                    memory.bytes().data());
    if (std::string w = differ("at first", dirty(m), {}); !w.empty()) return w;
    if (std::string w = touch_pages(m, all_pages(), {}); !w.empty()) return w;
    if (std::string w = differ("after reads", dirty(m), {}); !w.empty()) return w;
    for (int round = 0; round < 3; ++round) {
        if (std::string w = touch_pages(m, {}, some); !w.empty()) return w;
        if (std::string w = differ("after writes", dirty(m), some); !w.empty()) return w;
        if (std::string w = differ("read again", dirty(m), {}); !w.empty()) return w;
    }
    for (unsigned n = 0; n < pages; ++n) {
        const bool written = std::find(some.begin(), some.end(), n) != some.end();
        if (memory.bytes()[n * page + 0x7f] != (written ? 3 : 0))
            return "page " + std::to_string(n) + " has another content";
    }
    return {};
}

// A part of the log is read and cleared alone.
std::string by_parts() {
    Machine m;
    HostMemory memory{pages * page};
    m.vm.set_memory(logged_slot, HWV_MEMORY_LOG_DIRTY, at_logged, pages * page,
                    memory.bytes().data());
    if (std::string w = touch_pages(m, {}, some); !w.empty()) return w;
    if (std::string w = differ("64..127", dirty(m, 64, 64), {64, 65, 127}); !w.empty()) return w;
    if (std::string w = differ("576..599", dirty(m, 576, 24), {576, 599}); !w.empty()) return w;
    return differ("the rest", dirty(m), {0, 1, 63, 200, 511, 512, 513, 575});
}

// The log begins with the flag, though the guest could write the pages freely before, and ends with
// it.
std::string switched_on_late(bool huge) {
    Machine m;
    HostMemory memory{pages * page, huge};
    const auto flags = [&](std::uint32_t f) {
        m.vm.set_memory(logged_slot, f, at_logged, pages * page, memory.bytes().data());
    };
    flags(0);
    if (std::string w = touch_pages(m, {}, all_pages()); !w.empty()) return w;
    flags(HWV_MEMORY_LOG_DIRTY);
    if (std::string w = differ("at first", dirty(m), {}); !w.empty()) return w;
    if (std::string w = touch_pages(m, {}, some); !w.empty()) return w;
    if (std::string w = differ("after writes", dirty(m), some); !w.empty()) return w;
    flags(0);
    try {
        dirty(m);
    } catch (const std::exception &) {
        return {};
    }
    return "a slot without the flag has a log";
}

// What the owner writes is not logged: it knows.
std::string of_the_owner() {
    Machine m;
    HostMemory memory{pages * page};
    m.vm.set_memory(logged_slot, HWV_MEMORY_LOG_DIRTY, at_logged, pages * page,
                    memory.bytes().data());
    memory.bytes()[5 * page] = 1;
    if (std::string w = touch_pages(m, {5}, {6}); !w.empty()) return w;
    return differ("after both", dirty(m), {6});
}

const Topic dirty_log{"memory/dirty_log", [] {
                          add("DIRTY-LOG/exact", [] { return exact(false); });
                          add("DIRTY-LOG/exact_huge", [] { return exact(true); });
                          add("DIRTY-LOG/by_parts", by_parts);
                          add("DIRTY-LOG/late", [] { return switched_on_late(false); });
                          add("DIRTY-LOG/late_huge", [] { return switched_on_late(true); });
                          add("DIRTY-LOG/owner", of_the_owner);
                      }};

} // namespace
} // namespace conformance
