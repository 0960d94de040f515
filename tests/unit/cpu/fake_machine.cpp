// SPDX-License-Identifier: GPL-2.0-only
#include "cpu/fake_machine.hpp"
#include "cpu/native.hpp"

namespace fake {

Machine &machine() {
    static Machine one;
    return one;
}

void reset() { machine() = Machine{}; }

bool advance_to_timer() {
    Machine &m = machine();
    if (!m.fires_at) return false;
    if (*m.fires_at > m.ns) m.ns = *m.fires_at;
    m.fires_at.reset();
    return true;
}

bool advance(std::uint64_t ns) {
    Machine &m = machine();
    const std::uint64_t end = m.ns + ns;
    if (m.fires_at && *m.fires_at <= end) return advance_to_timer();
    m.ns = end;
    return false;
}

} // namespace fake

namespace hwv::cpu::native {

std::uint64_t tsc() { return fake::machine().ns * fake::machine().tsc_per_ns; }
std::uint64_t now_ns() { return fake::machine().ns; }

void timer_start(hwv_host_vcpu *, std::uint64_t ns) {
    fake::machine().fires_at = fake::machine().ns + ns;
    ++fake::machine().starts;
}

void timer_cancel(hwv_host_vcpu *) {
    fake::machine().fires_at.reset();
    ++fake::machine().cancels;
}

void cpuid(std::uint32_t leaf, std::uint32_t subleaf, std::uint32_t (&out)[4]) {
    for (auto &word : out)
        word = 0;
    if (fake::machine().cpuid) fake::machine().cpuid(leaf, subleaf, out);
}

} // namespace hwv::cpu::native
