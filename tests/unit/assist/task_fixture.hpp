// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <optional>

#include "assist/control_bits.hpp"
#include "assist/task_switch.hpp"
#include "fixture.hpp"

namespace assist_test {

// Two tasks of 32 bits at ring 0 and a GDT with segments for them; the first one runs, paging is
// off.
class TaskSwitch : public ::testing::Test {
  protected:
    static constexpr std::uint64_t gdt = 0x2000, ldt = 0x2800, old_tss = 0x3000, new_tss = 0x3800,
                                   code_at = Guest::code, new_stack = 0x7000;
    static constexpr std::uint16_t sel_code = 0x08, sel_data = 0x10, sel_old = 0x18, sel_new = 0x20,
                                   sel_ldt = 0x28, sel_based = 0x30, sel_user_code = 0x3b,
                                   sel_user_data = 0x43, sel_conforming = 0x48, sel_any = 0x50;

    void SetUp() override {
        guest = Guest::protected_mode();
        regs.gdtr = {gdt, 0x57, 0};
        set_entry(gdt + sel_code, 0, 0xfffff, 0x9b, 0xc);
        set_entry(gdt + sel_data, 0, 0xfffff, 0x93, 0xc);
        set_descriptor(sel_old, old_tss, 0x67, 0x8b);
        set_descriptor(sel_new, new_tss, 0x67, 0x89);
        set_descriptor(sel_ldt, ldt, 0x1f, 0x82);
        set_descriptor(sel_based, 0x1200'3400, 0x1234, 0x92);
        set_entry(gdt + 0x38, 0, 0xfffff, 0xfb, 0xc);
        set_entry(gdt + 0x40, 0, 0xfffff, 0xf3, 0xc);
        set_entry(gdt + sel_conforming, 0, 0xfffff, 0x9f, 0xc);
        make_task(new_tss, 0x2222);
        put(new_tss + 0x54, sel_based);
        put(new_tss + 0x5c, 0);
        for (auto &segment : regs.segment)
            segment.selector = sel_data;
        regs.segment[HWV_CS].selector = sel_code;
        regs.segment[HWV_TR] = {old_tss, 0x67, sel_old, 0x8b};
        regs.segment[HWV_LDTR] = {0, 0, 0, 0x1082};
    }

    void make_task(std::uint64_t at, std::uint32_t eip) {
        put(at + 0x20, eip);
        put(at + 0x24, 2);
        put(at + 0x38, new_stack);
        for (unsigned n = 0; n < 6; ++n)
            put(at + 0x48 + 4 * n, n == HWV_CS ? sel_code : sel_data);
    }
    void set_entry(std::uint64_t at, std::uint32_t base, std::uint32_t limit, unsigned access,
                   unsigned flags) {
        memory().put<std::uint64_t>(
            at, (limit & 0xffff) | std::uint64_t{base & 0xff'ffff} << 16 |
                    std::uint64_t{access} << 40 | std::uint64_t{limit >> 16 & 0xf} << 48 |
                    std::uint64_t{flags} << 52 | std::uint64_t{base >> 24} << 56);
    }
    void set_descriptor(unsigned selector, std::uint64_t base, std::uint32_t limit,
                        unsigned access) {
        set_entry(gdt + (selector & ~7U), static_cast<std::uint32_t>(base), limit, access, 0);
    }
    void make_busy(unsigned selector) {
        const auto at = gdt + selector + 5;
        memory().put<std::uint8_t>(at, memory().get<std::uint8_t>(at) | 2);
    }
    // A 32-bit page directory with one table for the first 4 MiB, which maps page 7, and it alone,
    // `shift` bytes higher.
    void paging(std::uint64_t directory, std::uint32_t shift) {
        put(directory, static_cast<std::uint32_t>(directory + 0x1000) | 7);
        for (unsigned page = 0; page < 0x200; ++page)
            put(directory + 0x1000 + 4 * page, (page * 0x1000 + (page == 7 ? shift : 0)) | 7);
    }

    Status run(const hwv_exit_task_switch &task, std::uint64_t next_rip) {
        return assist::switch_task(regs, {*guest.memory}, task, next_rip).status;
    }
    Status call() { return run({.selector = sel_new, .source = HWV_TASK_CALL}, code_at + 7); }
    Status jump() { return run({.selector = sel_new, .source = HWV_TASK_JUMP}, code_at + 7); }
    Status iret() { return run({.selector = sel_new, .source = HWV_TASK_IRET}, code_at + 1); }
    Status gate(hwv_event_type type, unsigned vector, std::optional<std::uint32_t> code = {},
                std::uint64_t next_rip = 0) {
        return run({.selector = sel_new,
                    .source = HWV_TASK_GATE,
                    .event_type = static_cast<__u8>(type),
                    .event_vector = static_cast<__u8>(vector),
                    .has_error_code = code.has_value(),
                    .error_code = code.value_or(0)},
                   next_rip);
    }

    FakeMemory &memory() { return *guest.memory; }
    std::uint32_t word(std::uint64_t at) { return memory().get<std::uint32_t>(at); }
    void put(std::uint64_t at, std::uint64_t value) {
        memory().put(at, static_cast<std::uint32_t>(value));
    }
    bool busy(unsigned selector) {
        return (memory().get<std::uint8_t>(gdt + selector + 5) & 2) != 0;
    }

    Guest guest;
    hwv_regs &regs = guest.regs;
};

} // namespace assist_test
