// SPDX-License-Identifier: GPL-2.0-only
#include "conformance/matrix_rows.hpp"

namespace conformance {
namespace {

constexpr std::uint8_t halt = 0xf4, sti = 0xfb;
constexpr std::uint64_t tf = 1u << 8, rf = 1u << 16, step_bit = 1u << 14;
constexpr std::uint8_t waiting = 0x40;
constexpr Modes prefix_modes = only(Mode::real) | only(Mode::prot32) | only(Mode::long64);

Case base_case(const Row &row, Mode mode, const char *outcome) {
    Case c{.name = std::string{row.reason} + "/" + name(mode) + "/" + outcome, .mode = mode};
    c.code = row.text->bytes(bits(mode));
    c.code.push_back(halt);
    if (row.privileged && in(user_modes, mode))
        c.expect = gp0();
    else if (row.expect)
        c.expect = row.expect(mode);
    if (c.expect.vector >= 0) c.expect.rip = 0;
    c.prepare = [in = row.in, prepare = row.prepare, mode](hwv_regs &r, std::span<std::uint8_t>) {
        for (const auto &[n, value] : in)
            r.gpr[n] = value;
        if (prepare) prepare(r, mode);
    };
    c.fresh = row.fresh;
    c.unequal_gprs = row.unequal_gprs;
    if (in(row.kvm_differs_in, mode)) c.kvm_differs = row.kvm_differs;
    if (in(row.unjudged_in, mode)) c.unjudged = row.unjudged;
    c.unjudged_bochs_svm = row.unjudged_bochs_svm;
    return c;
}

// An instruction that faults does not trap: the fault's frame has TF, and DR6 says nothing. AMD APM
// vol. 2 "Single Stepping".
void step(const Row &row, Mode mode) {
    Case c = base_case(row, mode, "step");
    const bool traps = c.expect.vector == no_vector;
    if (traps) {
        c.expect.vector = 1;
        c.expect.rip = c.code.size() - 1;
    }
    const auto prepare = c.prepare;
    c.prepare = [prepare](hwv_regs &r, std::span<std::uint8_t> memory) {
        prepare(r, memory);
        r.rflags |= tf | rf;
    };
    c.unjudged_bochs_svm = bochs::step;
    if (!row.kvm_differs_step.empty()) c.kvm_differs = row.kvm_differs_step;
    const auto more = c.expect.more;
    c.expect.more = [traps, more](const Result &r) -> std::string {
        if (!(r.frame.rflags & tf)) return "no TF in the frame";
        if (traps && (r.frame.rflags & rf)) return "RF in the frame of a trap";
        if (traps != ((r.end.dr6 & step_bit) != 0)) return "DR6 is " + hex(r.end.dr6);
        return more ? more(r) : "";
    };
    add(std::move(c));
}

void prefixed(const Row &row, Mode mode) {
    Case c = base_case(row, mode, "prefix");
    c.code.insert(c.code.begin(), {0x3e, 0x26, 0x3e});
    add(std::move(c));
}

void crossing(const Row &row, Mode mode) {
    Case c = base_case(row, mode, "cross");
    if (c.code.size() < 3) return;
    c.at = at_code + 0x1000 - 1;
    add(std::move(c));
}

// The interrupt comes after the instruction behind STI. AMD APM vol. 3 "STI". That of a fault comes
// before the interrupt.
void in_shadow(const Row &row, Mode mode) {
    Case c = base_case(row, mode, "sti");
    if (c.expect.vector >= 0) return;
    c.expect.vector = waiting;
    c.expect.rip = c.code.size();
    c.code.insert(c.code.begin(), sti);
    c.before = [](TestVm &vm) { (void)vm.inject(waiting); };
    if (on_bochs_svm()) c.kvm_differs = bochs::no_window;
    c.attempts = 5; // QEMU 7.2 forgets the shadow when a host's interrupt ends the guest inside it
    add(std::move(c));
}

} // namespace

Expect fault(int vector, std::optional<std::uint32_t> error) {
    Expect e;
    e.vector = vector;
    e.error = error;
    return e;
}

void generate(const Row &row) {
    for (unsigned n = 0; n < mode_count; ++n) {
        const auto mode = static_cast<Mode>(n);
        if (!in(row.modes, mode) || !row.text->exists(bits(mode))) continue;
        add(base_case(row, mode, "done"));
        if (row.boundaries) step(row, mode);
        if (row.prefixable && in(prefix_modes, mode)) prefixed(row, mode);
        crossing(row, mode);
        if (row.boundaries && row.sti && in(kernel_modes, mode)) in_shadow(row, mode);
    }
}

} // namespace conformance
