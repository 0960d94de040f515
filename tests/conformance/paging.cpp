// SPDX-License-Identifier: GPL-2.0-only
// paging.cpp - #PF and its error codes, accessed and dirty bits, in 32-bit, PAE and long-mode
// paging. AMD APM vol. 2, "#PF-Page-Fault Exception (Vector 14)" and "Accessed (A) Bit".
#include "conformance/matrix_rows.hpp"

namespace conformance {
namespace {

// The page under test: linear at_page by the first entry of the table at_table is at_target.
constexpr std::uint64_t at_page = 0x800000, at_table = 0xb000, at_target = 0x100000;
constexpr std::uint64_t p = 1, rw = 2, us = 4, a = 0x20, d = 0x40, nx = 1ull << 63,
                        reserved = 1ull << 51;
constexpr std::uint64_t pg = 1u << 31, wp = 1u << 16, pse = 1 << 4, nxe = 1 << 11;

enum class Kind : std::uint8_t { read, write, fetch, add };
constexpr const char *kind_names[] = {"read", "write", "fetch", "add"};

GUEST(read_it, "movl (%edx), %ecx\nhlt")
GUEST(write_it, "movl %ecx, (%edx)\nhlt")
GUEST(add_it, "addl $1, (%edx)\nhlt")
GUEST_PART(fetch32, 32, "jmp *%edx\nhlt")
GUEST_PART(fetch64, 64, "jmp *%rdx\nhlt")
const Text fetch_it{{nullptr, guest_fetch32_32, guest_fetch64_64},
                    {nullptr, guest_fetch32_32_end, guest_fetch64_64_end}};

const Text &text_of(Kind kind) {
    switch (kind) {
    case Kind::read: return read_it;
    case Kind::write: return write_it;
    case Kind::add: return add_it;
    default: return fetch_it;
    }
}

bool is_wide(Mode mode) { return mode != Mode::prot32 && mode != Mode::user32; }

// 32-bit paging: 4 MiB pages, one to one, with the directory at 0x2000.
void page_32(hwv_regs &r, std::span<std::uint8_t> memory) {
    for (std::uint64_t i = 0; i < 1024; ++i)
        store(memory, 0x2000 + 4 * i, i << 22 | 0xe7, 4);
    store(memory, 0x2000 + 4 * (at_page >> 22), at_table | p | rw | us | a, 4);
    r.cr3 = 0x2000;
    r.cr4 |= pse;
    r.cr0 |= pg | wp;
}

void map(hwv_regs &r, std::span<std::uint8_t> memory, Mode mode, std::uint64_t bits) {
    if (is_wide(mode)) {
        store(memory, 0x4000 + 8 * (at_page >> 21), at_table | p | rw | us | a, 8);
        r.efer |= nxe;
    } else {
        page_32(r, memory);
    }
    store(memory, at_table, at_target | bits, is_wide(mode) ? 8 : 4);
    r.gpr[HWV_RDX] = at_page;
}

struct Row {
    const char *name;
    std::uint64_t entry;       // bits of the page's entry
    std::uint32_t read, write; // error codes for the kernel's accesses, `none`: no fault
    std::uint32_t user_read, user_write, fetch, user_fetch;
};
constexpr std::uint32_t none = ~0u;

// P=1, W=2, U=4, RSV=8, I/D=16; the last only where EFER.NXE is.
constexpr Row rows[] = {
    {"absent", us | rw, 0, 2, 4, 6, 16, 20},
    {"absent_anything", ~0xfffull | us | rw, 0, 2, 4, 6, 16, 20},
    {"kernel", p | rw, none, none, 5, 7, none, 21},
    {"kernel_ro", p, none, 3, 5, 7, none, 21},
    {"user", p | rw | us, none, none, none, none, none, none},
    {"user_ro", p | us, none, 3, none, 7, none, none},
};
constexpr Row wide_rows[] = {
    {"nx", p | rw | us | nx, none, none, none, none, 17, 21},
    {"kernel_nx", p | rw | nx, none, none, 5, 7, 17, 21},
    {"reserved", p | rw | us | reserved, 9, 11, 13, 15, 25, 29},
    {"reserved_kernel", p | reserved, 9, 11, 13, 15, 25, 29},
};

// Accessed and dirty bits as the CPU must leave them.
std::string bits_are(const Result &r, std::uint64_t wanted) {
    const std::uint64_t got = r.word(at_table, 4) & (a | d);
    return got == wanted ? "" : "accessed and dirty bits are " + hex(got);
}

Expect expected(Mode mode, Kind kind, std::uint32_t error) {
    const bool writes = kind == Kind::write || kind == Kind::add;
    Expect e;
    e.writes_from = at_table;
    if (error == none) {
        if (kind == Kind::read) e.gprs = {{HWV_RCX, 0x12345678}};
        e.more = [writes](const Result &r) { return bits_are(r, writes ? a | d : a); };
        return e;
    }
    e.vector = 14;
    error = is_wide(mode) ? error : error & ~16u;
    e.rip = kind == Kind::fetch ? at_page - at_code : 0;
    e.more = [error](const Result &r) {
        // QEMU leaves P clear where it finds a reserved bit.
        if ((r.frame.error | (error & 8) >> 3) != error)
            return "the error code is " + hex(r.frame.error) + ", not " + hex(error);
        if (r.end.cr2 != at_page) return "CR2 is " + hex(r.end.cr2);
        return bits_are(r, 0);
    };
    return e;
}

void access(Mode mode, Kind kind, const char *name, std::uint64_t entry, std::uint32_t error) {
    if (kind == Kind::fetch && error == none) return;
    // QEMU makes a read and then a write of it, each with its own fault.
    if (kind == Kind::add && error != none) return;
    Case c{.name = std::string{"PF/"} + conformance::name(mode) + "/" + name + "_" +
                   kind_names[static_cast<unsigned>(kind)],
           .mode = mode};
    c.code = text_of(kind).bytes(bits(mode));
    c.expect = expected(mode, kind, error);
    c.prepare = [mode, entry](hwv_regs &r, std::span<std::uint8_t> memory) {
        map(r, memory, mode, entry);
        store(memory, at_target, 0x12345678, 4);
    };
    add(std::move(c));
}

void all_of(Mode mode, const Row &row) {
    const bool user = in(user_modes, mode);
    access(mode, Kind::read, row.name, row.entry, user ? row.user_read : row.read);
    access(mode, Kind::write, row.name, row.entry, user ? row.user_write : row.write);
    access(mode, Kind::add, row.name, row.entry, user ? row.user_write : row.write);
    access(mode, Kind::fetch, row.name, row.entry, user ? row.user_fetch : row.fetch);
}

const Topic faults{"paging/faults", [] {
                       for (Mode mode : {Mode::prot32, Mode::user32, Mode::pae, Mode::user_pae,
                                         Mode::compat, Mode::long64, Mode::user64}) {
                           for (const Row &row : rows)
                               all_of(mode, row);
                           if (!is_wide(mode)) continue;
                           for (const Row &row : wide_rows)
                               all_of(mode, row);
                       }
                   }};

// ---- CR0.WP, CR4.SMEP and CR4.SMAP ----

void kernel_access(Mode mode, Kind kind, const char *name, std::uint64_t entry, std::uint32_t error,
                   void (*change)(hwv_regs &), const char *unjudged_bochs_vmx = "") {
    Case c{.name = std::string{"PF/"} + conformance::name(mode) + "/" + name, .mode = mode};
    c.code = text_of(kind).bytes(bits(mode));
    c.expect = expected(mode, kind, error);
    c.prepare = [mode, entry, change](hwv_regs &r, std::span<std::uint8_t> memory) {
        map(r, memory, mode, entry);
        store(memory, at_target, 0x12345678, 4);
        // One page of the kernel's own for what runs: elsewhere all pages are the user's.
        for (std::uint64_t at = 0x4000; is_wide(mode) && at < 0x4020; at += 8)
            store(memory, at, load(memory, at, 8) & ~us, 8);
        change(r);
    };
    c.unjudged_bochs_vmx = unjudged_bochs_vmx;
    add(std::move(c));
}

const Topic controls{
    "paging/controls", [] {
        for (Mode mode : {Mode::prot32, Mode::pae, Mode::long64}) {
            kernel_access(
                mode, Kind::write, "no_wp_write", p | us, none, [](hwv_regs &r) { r.cr0 &= ~wp; },
                bochs::no_dirty_bit);
            kernel_access(mode, Kind::write, "no_wp_absent", us, 2,
                          [](hwv_regs &r) { r.cr0 &= ~wp; });
        }
        constexpr std::uint64_t user_page = p | rw | us;
        constexpr auto smep = [](hwv_regs &r) { r.cr4 |= 1u << 20; };
        constexpr auto smap = [](hwv_regs &r) { r.cr4 |= 1u << 21; };
        constexpr auto smap_ac = [](hwv_regs &r) {
            r.cr4 |= 1u << 21;
            r.rflags |= 1u << 18;
        };
        kernel_access(Mode::long64, Kind::fetch, "smep_fetch", user_page, 17, smep);
        kernel_access(Mode::long64, Kind::read, "smep_read", user_page, none, smep);
        kernel_access(Mode::long64, Kind::read, "smap_read", user_page, 1, smap);
        kernel_access(Mode::long64, Kind::write, "smap_write", user_page, 3, smap);
        kernel_access(Mode::long64, Kind::read, "smap_ac_read", user_page, none, smap_ac);
        kernel_access(Mode::long64, Kind::write, "smap_ac_write", user_page, none, smap_ac);
    }};

// ---- an access over two pages ----

GUEST(read_over, "movl -2(%edx), %ecx\nhlt")
GUEST(write_over, "movl %ecx, -2(%edx)\nhlt")

// The first page is plain memory, the second one is under test at its first byte.
void over(Mode mode, const char *name, const Text &text, std::uint64_t entry, std::uint32_t error) {
    Case c{.name = std::string{"PF/"} + conformance::name(mode) + "/over_" + name, .mode = mode};
    c.code = text.bytes(bits(mode));
    c.expect.writes_from = at_table;
    if (error != none) {
        c.expect.vector = 14;
        c.expect.error = error;
        c.expect.rip = 0;
    } else if (&text == &read_over) {
        c.expect.gprs = {{HWV_RCX, 0x5678abcd}};
    }
    const bool faults = error != none;
    c.expect.more = [faults](const Result &r) {
        return faults && r.end.cr2 != at_page + 0x1000 ? "CR2 is " + hex(r.end.cr2) : "";
    };
    c.prepare = [mode, entry](hwv_regs &r, std::span<std::uint8_t> memory) {
        map(r, memory, mode, p | rw | us);
        const unsigned bytes = is_wide(mode) ? 8 : 4;
        store(memory, at_table + bytes, (at_target + 0x3000) | entry, bytes);
        store(memory, at_target + 0xffe, 0xabcd, 2);
        store(memory, at_target + 0x3000, 0x12345678, 4);
        r.gpr[HWV_RDX] = at_page + 0x1000;
    };
    add(std::move(c));
}

const Topic crossing{"paging/crossing", [] {
                         for (Mode mode : {Mode::prot32, Mode::pae, Mode::long64}) {
                             over(mode, "read", read_over, p | rw, none);
                             over(mode, "write", write_over, p | rw, none);
                             over(mode, "read_absent", read_over, rw, 0);
                             over(mode, "write_absent", write_over, rw, 2);
                             over(mode, "write_ro", write_over, p, 3);
                         }
                     }};

} // namespace
} // namespace conformance
