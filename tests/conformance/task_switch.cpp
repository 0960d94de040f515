// SPDX-License-Identifier: GPL-2.0-only
// task_switch.cpp - hardware task switches, there and back again: Intel SDM vol. 3 "Task
// Management". Intel's CPUs leave each of them to userspace/assist, AMD's do them by themselves.
#include <algorithm>
#include "conformance/matrix_rows.hpp"

namespace conformance {
namespace {

constexpr std::uint16_t sel_task = 0x60, sel_other = 0x68, sel_stack16 = 0x70;
constexpr std::uint64_t at_task = 0xb900, at_other = 0xb980, at_task_code = 0xba00,
                        at_other_code = 0xbb00, at_pointers = 0xbc00, at_task_stack = 0xbe00,
                        at_other_stack = 0xbf00, at_directory = 0xc000;
constexpr std::uint64_t ts = 8, nt = 1u << 14, if_ = 1u << 9;

// What the second task found when it ran: at at_data.
constexpr std::uint64_t count = at_data, tr = at_data + 4, flags = at_data + 8, sp = at_data + 12,
                        error = at_data + 16, steps = at_data + 20;

#define REPORT "pushfl\npopl 0xb808\nincl %ebx\nmovl %ebx, 0xb800\nstrw 0xb804\nmovw %sp, 0xb80c\n"
GUEST32(call_once, "lcall $0x60, $0\nhlt")
GUEST32(call_twice, "lcall $0x60, $0\nclts\nlcall $0x60, $0\nhlt")
// QEMU's SVM forgets the rest of a switch that a nested page fault interrupts, and Bochs sets RF
// where an EPT violation interrupts INT n: what is first used there is touched before. (No flags:
// QEMU also keeps those that it has not computed yet.)
#define TOUCH(address) "pushl " #address "\nlea 4(%esp), %esp\n"
GUEST32(call_warm, TOUCH(0xb800) TOUCH(0xc000) "lcall $0x60, $0\nhlt")
GUEST32(int_n, TOUCH(0x8400) "int $0x80\nhlt")
GUEST32(jump_away, "ljmp $0x60, $0\nhlt")
GUEST32(by_gate, "lcall $0x78, $0\nhlt")
GUEST32(nothing, "nop\nhlt")
GUEST32(divide, "div %cl\nhlt")
GUEST32(go_back, "1:\n" REPORT "clts\niretl\njmp 1b")
GUEST32(user, REPORT "iretl")
GUEST32(jump_back, REPORT "ljmp $0x20, $0")
GUEST32(go_on, REPORT "lcall $0x68, $0\nincl 0xb814\niretl")
GUEST32(other, "incl 0xb814\nstrw 0xb818\niretl")
GUEST32(repair, REPORT "popl 0xb810\naddl $2, 0x9020\niretl") // main's EIP, behind the DIV
GUEST32(elsewhere, REPORT "incl 0x20b814\niretl")             // mapped in its own tables alone

GUEST32(mend, "popl 0xb810\nincl 0xb814\nstrw 0xb818\nmovw %si, (%edi)\niretl")
GUEST_PART(virtual_mode, 16, "incw 0xb814\nint $0x80")

using Memory = std::span<std::uint8_t>;

void set_tss(Memory memory, std::uint16_t selector, std::uint64_t at, unsigned type) {
    const std::uint64_t limit = type & 8 ? 0x67 : 0x2b;
    store(memory, at_gdt + selector, limit | at << 16 | std::uint64_t{type | 0x80} << 40, 8);
}

void put_task(const hwv_regs &r, Memory memory, std::uint64_t at, std::uint64_t eip,
              std::uint64_t esp) {
    store(memory, at + 0x1c, r.cr3, 4);
    store(memory, at + 0x20, eip, 4);
    store(memory, at + 0x24, 2, 4);
    store(memory, at + 0x38, esp, 4);
    for (unsigned n = 0; n < 6; ++n)
        store(memory, at + 0x48 + 4 * n, n == HWV_CS ? sel_code : sel_data, 2);
}

void put_code(Memory memory, const Text &text, std::uint64_t at) {
    const Bytes code = text.bytes(32);
    std::copy(code.begin(), code.end(), memory.begin() + static_cast<long>(at));
}

void put_task_gate(Memory memory, std::uint64_t at) {
    store(memory, at, std::uint64_t{sel_task} << 16 | 0x85ull << 40, 8);
}

void put_tasks(hwv_regs &r, Memory memory, const Text &code) {
    r.segment[HWV_TR].attributes = 0x8b;
    store(memory, at_tss + 0x1c, r.cr3, 4);
    set_tss(memory, sel_task, at_task, 9);
    set_tss(memory, sel_other, at_other, 9);
    put_task(r, memory, at_task, at_task_code, at_task_stack);
    put_task(r, memory, at_other, at_other_code, at_other_stack);
    put_code(memory, code, at_task_code);
    put_code(memory, other, at_other_code);
}

struct Found {
    std::uint64_t count, flags, sp;
};

std::string found(const Result &r, const Found &wanted) {
    const auto differs = [&](const char *what, std::uint64_t got, std::uint64_t right) {
        return got == right ? std::string{}
                            : std::string{what} + " " + hex(got) + ", not " + hex(right) + "; ";
    };
    return differs("count", r.word(count), wanted.count) +
           differs("task", r.word(tr, 2), sel_task) +
           differs("flags", r.word(flags) & 0x3f'7fff, wanted.flags) +
           differs("stack", r.word(sp, 2), wanted.sp) +
           differs("back in", r.end.segment[HWV_TR].selector, sel_tss) +
           differs("CR0.TS", r.end.cr0 & ts, ts) + differs("NT", r.end.rflags & nt, 0) +
           differs("busy", r.word(at_gdt + sel_tss + 5, 1), 0x8b) +
           differs("busy", r.word(at_gdt + sel_task + 5, 1) & ~8u, 0x81);
}

Case task(Mode mode, const char *outcome, const Text &main, const Text &second) {
    Case c{.name = std::string{"TASK/"} + name(mode) + "/" + outcome, .mode = mode};
    c.code = main.bytes(32);
    c.expect.writes_from = at_gdt;
    c.expect.writes_to = at_kernel_stack;
    c.prepare = [&second](hwv_regs &r, Memory memory) { put_tasks(r, memory, second); };
    return c;
}

// More to prepare than the tasks.
void also(Case &c, std::function<void(hwv_regs &, Memory)> change) {
    c.prepare = [first = c.prepare, change](hwv_regs &r, Memory memory) {
        first(r, memory);
        change(r, memory);
    };
}

void expect(Case &c, const Found &wanted) {
    c.expect.more = [wanted](const Result &r) { return found(r, wanted); };
}

template <typename Make>
void in_modes(Make make) {
    for (Mode m : {Mode::prot32, Mode::pae})
        make(m);
}

const Topic instructions{
    "task/instructions", [] {
        in_modes([](Mode m) {
            Case c = task(m, "call_iret", call_once, go_back);
            expect(c, {1, nt | 2, at_task_stack});
            add(c);
            c = task(m, "call_twice", call_twice, go_back); // it goes on behind its IRET
            expect(c, {2, nt | 2, at_task_stack});
            add(c);
            c = task(m, "jmp", jump_away, jump_back);
            expect(c, {1, 2, at_task_stack});
            add(c);
            c = task(m, "call_gate", by_gate, go_back);
            also(c, [](hwv_regs &, Memory memory) { put_task_gate(memory, at_gdt + 0x78); });
            expect(c, {1, nt | 2, at_task_stack});
            add(c);
            c = task(m, "nested", call_once, go_on);
            c.expect.more = [](const Result &r) {
                if (r.word(steps) != 2 || r.word(steps + 4, 2) != sel_other)
                    return "not through all tasks: " + hex(r.word(steps));
                return found(r, {1, nt | 2, at_task_stack});
            };
            add(c);
        });
    }};

// Events by a task gate: once, with the error code on the new stack.
const Topic events{"task/events", [] {
                       in_modes([](Mode m) {
                           const auto gate = [](unsigned vector) {
                               return [vector](hwv_regs &r, Memory memory) {
                                   put_task_gate(memory, at_idt + 8 * vector);
                                   r.gpr[HWV_RCX] = 0;
                               };
                           };
                           Case c = task(m, "int_n", int_n, go_back);
                           also(c, gate(0x80));
                           expect(c, {1, nt | 2, at_task_stack});
                           if (on_bochs_svm())
                               c.kvm_differs = "KVM goes to user, Bochs says nothing of INT n";
                           add(c);
                           c = task(m, "interrupt", nothing, go_back);
                           also(c, gate(0x55));
                           also(c, [](hwv_regs &r, Memory) { r.rflags |= if_; });
                           c.before = [](TestVm &vm) { (void)vm.inject(0x55); };
                           c.fresh = true;
                           if (on_bochs_svm()) c.kvm_differs = bochs::no_window;
                           expect(c, {1, nt | 2, at_task_stack});
                           add(c);
                           c = task(m, "double_fault", divide, repair);
                           also(c, gate(8));
                           also(c, [](hwv_regs &, Memory memory) {
                               for (const unsigned v : {0u, 11u}) // #DE, then #NP
                                   store(memory, at_idt + 8 * v + 5, 0x0e, 1);
                               store(memory, error, 0x55, 4);
                           });
                           c.expect.more = [](const Result &r) {
                               if (r.word(error)) return "error code " + hex(r.word(error));
                               return found(r, {1, nt | 2, at_task_stack - 4});
                           };
                           add(c);
                       });
                   }};

// CR3 is loaded, and with it PAE's page directory pointers.
const Topic spaces{"task/spaces", [] {
                       Case c = task(Mode::pae, "cr3", call_warm, elsewhere);
                       also(c, [](hwv_regs &, Memory memory) {
                           store(memory, at_task + 0x1c, at_pointers, 4);
                           store(memory, at_pointers, at_directory | 1, 8);
                           for (unsigned n = 0; n < 2; ++n) // both are the first 2 MiB
                               store(memory, at_directory + 8 * n, 0xe7, 8);
                       });
                       c.expect.more = [](const Result &r) {
                           if (r.word(steps) != 1) return "steps: " + hex(r.word(steps));
                           return found(r, {1, nt | 2, at_task_stack});
                       };
                       add(c);
                   }};

// A TSS of 16 bits, with a stack of as many: what the upper halves of its registers hold is not
// defined.
const Topic small{
    "task/tss16", [] {
        Case c = task(Mode::prot32, "tss16", call_once, go_back);
        also(c, [](hwv_regs &, Memory memory) {
            std::fill_n(memory.begin() + at_task, 0x68, std::uint8_t{0});
            set_tss(memory, sel_task, at_task, 1);
            store(memory, at_gdt + sel_stack16, 0x93ull << 40 | 0xffff, 8);
            store(memory, at_task + 0x0e, at_task_code, 2);
            store(memory, at_task + 0x10, 2, 2);
            store(memory, at_task + 0x1a, at_task_stack, 2);
            const std::uint16_t selectors[] = {sel_data, sel_code, sel_stack16, sel_data};
            for (unsigned n = 0; n < 4; ++n)
                store(memory, at_task + 0x22 + 2 * n, selectors[n], 2);
        });
        c.kvm_differs = "KVM saves the old task in the format of the new one's TSS";
        c.expect.more = [](const Result &r) {
            Result low = r;
            low.after[count + 2] = low.after[count + 3] = 0;
            return found(low, {1, nt | 2, at_task_stack});
        };
        add(c);
    }};

// ---- other tasks ----

void put_selectors(Memory memory, std::uint16_t code, std::uint16_t data) {
    for (unsigned n = 0; n < 6; ++n)
        store(memory, at_task + 0x48 + 4 * n, n == HWV_CS ? code : data, 2);
}

std::string in_virtual_mode(const Result &r) {
    if (r.word(steps) != 1) return "its code has not run";
    if (r.frame.cs != at_task_code >> 4) return "CS was " + hex(r.frame.cs);
    return (r.frame.rflags & 0x27000) == 0x27000 ? "" : "flags were " + hex(r.frame.rflags);
}

const Topic modes{"task/modes", [] {
                      in_modes([](Mode m) {
                          Case c = task(m, "user", call_once, user);
                          also(c, [](hwv_regs &, Memory memory) {
                              put_selectors(memory, sel_user_code, sel_user_data);
                          });
                          expect(c, {1, nt | 2, at_task_stack});
                          add(c);
                          c = task(m, "v86", call_once, user);
                          also(c, [](hwv_regs &, Memory memory) {
                              std::copy(guest_virtual_mode_16, guest_virtual_mode_16_end,
                                        memory.begin() + at_task_code);
                              put_selectors(memory, at_task_code >> 4, 0);
                              store(memory, at_task + 4, at_kernel_stack, 4);
                              store(memory, at_task + 8, sel_data, 2);
                              store(memory, at_task + 0x20, 0, 4);
                              store(memory, at_task + 0x24, 0x23002, 4);
                          });
                          c.expect.vector = 0x80;
                          c.expect.any_gprs = 0xff;
                          c.expect.more = in_virtual_mode;
                          c.unjudged_bochs_svm = bochs::v86;
                          add(c);
                      });
                  }};

const Topic debug{
    "task/debug", [] {
        Case c = task(Mode::prot32, "breakpoints", call_once, go_back);
        also(c, [](hwv_regs &r, Memory) {
            r.dr[0] = r.dr[1] = 0x123;
            r.dr7 = 0x40b; // L0, G0, L1... of which the local ones go
        });
        c.expect.more = [](const Result &r) {
            return r.end.dr7 == 0x40a ? "" : "DR7 is " + hex(r.end.dr7);
        };
        if (on_qemu72())
            c.kvm_differs = "QEMU does not leave for a switch, KVM keeps the DR7 it knew";
        add(c);
        c = task(Mode::prot32, "trap", call_once, go_back);
        also(c, [](hwv_regs &, Memory memory) { store(memory, at_task + 0x64, 1, 1); });
        c.expect.vector = 1;
        c.expect.any_gprs = 0xff;
        c.expect.more = [](const Result &r) {
            if (r.frame.rip != at_task_code) return "at " + hex(r.frame.rip);
            return r.end.dr6 == 0xffff8ff0 ? "" : "DR6 is " + hex(r.end.dr6);
        };
        c.unjudged = "QEMU has no T bit";
        c.unjudged_bochs_svm = "DR6.BT is not found again there, it is not known why";
        c.kvm_differs = "KVM has no T bit";
        add(c);
    }};

// ---- faults of the new task ----

struct Bad {
    const char *name;
    unsigned field; // of the TSS
    std::uint16_t selector, good;
    unsigned vector;
};

constexpr Bad bad[] = {
    {"ss_null", 0x50, 0, sel_data, 10},
    {"ss_code", 0x50, sel_code, sel_data, 10},
    {"ss_absent", 0x50, sel_absent, sel_data, 12},
    {"cs_data", 0x4c, sel_data, sel_code, 10},
    {"ds_tss", 0x54, sel_task, sel_data, 10},
    {"ds_absent", 0x54, sel_absent, sel_data, 11},
    {"ldt_data", 0x60, sel_data, 0, 10},
};

// The handler is a task of its own, which mends the TSS; then the new task runs.
const Topic faults{"task/faults", [] {
                       for (const Bad &b : bad) {
                           Case c = task(Mode::prot32, b.name, call_once, go_back);
                           also(c, [b](hwv_regs &, Memory memory) {
                               store(memory, at_task + b.field, b.selector, 2);
                               put_code(memory, mend, at_other_code);
                               store(memory, at_other + 0x40, b.good, 4);            // ESI
                               store(memory, at_other + 0x44, at_task + b.field, 4); // EDI
                               put_task_gate(memory, at_idt + 8 * b.vector);
                               store(memory, at_idt + 8 * b.vector + 2, sel_other, 2);
                           });
                           c.expect.more = [b](const Result &r) {
                               if (r.word(steps) != 1) return "handled: " + hex(r.word(steps));
                               if (r.word(error) != b.selector)
                                   return "error code " + hex(r.word(error));
                               return found(r, {1, nt | 2, at_task_stack});
                           };
                           c.unjudged = "QEMU gives a fault of the new task the old one's RIP";
                           c.kvm_differs = "KVM drops what a task switch of its own raises";
                           add(c);
                       }
                   }};

} // namespace
} // namespace conformance
