// SPDX-License-Identifier: GPL-2.0-only
#include "conformance/judge.hpp"
#include <algorithm>
#include <cstdio>

namespace conformance {
namespace {

constexpr const char *gpr_names[HWV_GPRS] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                             "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                             "r12", "r13", "r14", "r15"};
constexpr const char *segment_names[HWV_SEGMENTS] = {"es", "cs", "ss",   "ds",
                                                     "fs", "gs", "ldtr", "tr"};

std::string differ(const std::string &what, std::uint64_t got, std::uint64_t wanted) {
    return what + " is " + hex(got) + ", not " + hex(wanted);
}

std::string text(const std::vector<Access> &accesses) {
    std::string out;
    for (const Access &a : accesses)
        out += (a.kind == Access::io     ? " io "
                : a.kind == Access::mmio ? " mmio "
                                         : " exit ") +
               hex(a.address) + (a.write ? "w" : "r") + std::to_string(a.size) + "=" + hex(a.data);
    return out.empty() ? " none" : out;
}

std::string vector_name(int vector) {
    return vector == no_vector   ? "no vector"
           : vector == shut_down ? "shutdown"
                                 : "vector " + std::to_string(vector);
}

bool on_a_stack(std::uint64_t at) {
    return (at >= at_stack - 0x80 && at < at_stack) ||
           (at >= at_kernel_stack - 0x80 && at < at_kernel_stack);
}

// QEMU marks PAE's PDPTEs as accessed, where the manual has a reserved bit.
bool is_pdpte(const Case &c, std::uint64_t at) {
    return (c.mode == Mode::pae || c.mode == Mode::user_pae) && at >= 0x3000 && at < 0x3020;
}

std::string check_memory(const Case &c, const Result &r) {
    const Expect &e = c.expect;
    for (std::uint64_t at = 0; at < r.after.size(); ++at) {
        if (r.before[at] == r.after[at] || on_a_stack(at) || is_pdpte(c, at) ||
            (at >= e.writes_from && at < e.writes_to))
            continue;
        return differ("memory at " + hex(at), r.after[at], r.before[at]);
    }
    return {};
}

std::string check_gprs(const Case &c, const Result &r) {
    const Expect &e = c.expect;
    std::uint64_t wanted[HWV_GPRS];
    std::copy(r.start.gpr, r.start.gpr + HWV_GPRS, wanted);
    std::uint32_t any = e.any_gprs;
    if (r.vector != no_vector) any |= 1u << HWV_RSP; // what the frame left of it
    for (const auto &[n, value] : e.gprs) {
        wanted[n] = value;
        any &= ~(1u << n);
    }
    const unsigned count = in(long_modes, c.mode) ? HWV_GPRS : 8;
    const std::uint64_t mask = in(long_modes, c.mode) ? ~0ull : 0xffffffff;
    for (unsigned n = 0; n < count; ++n)
        if (!(any >> n & 1) && ((r.end.gpr[n] ^ wanted[n]) & mask))
            return differ(gpr_names[n], r.end.gpr[n], wanted[n]);
    return {};
}

// User code cannot halt: its end is the #GP of its HLT.
bool ends_in_fault(const Case &c) { return in(user_modes, c.mode) && c.expect.vector == no_vector; }

std::string check_end(const Case &c, const Result &r) {
    const Expect &e = c.expect;
    const bool user = ends_in_fault(c);
    const int vector = user ? 13 : e.vector;
    const std::uint64_t last = c.at + c.code.size() - 1; // HLT
    if (r.vector != vector)
        return "ended in " + vector_name(r.vector) +
               (r.vector >= 0 ? " from " + hex(r.frame.rip) : " at " + hex(r.end.rip)) +
               ", not in " + vector_name(vector);
    if (vector == shut_down) return {};
    if (user) return r.frame.rip == last ? "" : differ("RIP", r.frame.rip, last);
    if (vector == no_vector) return r.end.rip == last + 1 ? "" : differ("RIP", r.end.rip, last + 1);
    if (e.error && c.mode != Mode::real && r.frame.error != *e.error)
        return differ("error code", r.frame.error, *e.error);
    if (e.rip && r.frame.rip != c.at + *e.rip)
        return differ("pushed RIP", r.frame.rip, c.at + *e.rip);
    return {};
}

using Fields = std::vector<std::pair<std::string, std::uint64_t>>;

// One number for what of a segment both tell alike: G follows from the limit, and an unusable one
// has nothing else.
std::uint64_t attributes(const hwv_segment &s) {
    if ((s.attributes & 0x1000) || !(s.attributes & 0x80)) return 0;
    return s.attributes & 0x7ff;
}

Fields fields(const hwv_regs &r, std::uint32_t unequal) {
    Fields f;
    for (unsigned n = 0; n < HWV_GPRS; ++n)
        if (!(unequal >> n & 1)) f.emplace_back(gpr_names[n], r.gpr[n]);
    f.insert(f.end(), {{"rip", r.rip},
                       {"rflags", r.rflags},
                       {"cr0", r.cr0},
                       {"cr2", on_bochs_svm() ? 0 : r.cr2}, // its VMRUN loads none
                       {"cr3", r.cr3},
                       {"cr4", r.cr4},
                       {"cr8", r.cr8},
                       {"efer", r.efer},
                       {"xcr0", r.xcr0},
                       {"dr6", r.dr6},
                       {"dr7", r.dr7}});
    for (unsigned n = 0; n < 4; ++n)
        f.emplace_back("dr" + std::to_string(n), r.dr[n]);
    for (unsigned n = 0; n < HWV_SEGMENTS; ++n) {
        const std::string s = segment_names[n];
        f.emplace_back(s + " selector", r.segment[n].selector);
        f.emplace_back(s + " attributes", attributes(r.segment[n]));
        if (!attributes(r.segment[n])) continue;
        f.emplace_back(s + " base", r.segment[n].base);
        f.emplace_back(s + " limit", r.segment[n].limit);
    }
    f.insert(f.end(), {{"gdtr", r.gdtr.base},
                       {"idtr", r.idtr.base},
                       {"gdtr limit", r.gdtr.limit},
                       {"idtr limit", r.idtr.limit},
                       {"NMI blocking", r.event.nmi_blocked},
                       {"shadow", r.event.shadow != 0}});
    return f;
}

} // namespace

std::string against_manual(const Case &c, const Result &r) {
    if (std::string wrong = check_end(c, r); !wrong.empty())
        return wrong + "; exits:" + text(r.accesses);
    if (r.accesses != c.expect.accesses)
        return "exits:" + text(r.accesses) + ", not:" + text(c.expect.accesses);
    if (std::string wrong = check_gprs(c, r); !wrong.empty()) return wrong;
    if (std::string wrong = check_memory(c, r); !wrong.empty()) return wrong;
    return c.expect.more ? c.expect.more(r) : "";
}

std::string against_oracle(const Case &c, const Result &hwv, const Result &kvm) {
    if (hwv.vector != kvm.vector)
        return "KVM ended in " + vector_name(kvm.vector) + " at " + hex(kvm.end.rip);
    if (hwv.accesses != kvm.accesses) return "KVM's exits:" + text(kvm.accesses);
    const Fields mine = fields(hwv.end, c.unequal_gprs), other = fields(kvm.end, c.unequal_gprs);
    for (std::size_t i = 0; i < std::min(mine.size(), other.size()); ++i)
        if (mine[i] != other[i])
            return differ("with KVM " + other[i].first, other[i].second, mine[i].second) + " (" +
                   mine[i].first + ")";
    for (std::size_t i = 0; i < std::max(hwv.changes.size(), kvm.changes.size()); ++i) {
        if (i == hwv.changes.size())
            return differ("with KVM memory at " + hex(kvm.changes[i].first), kvm.changes[i].second,
                          kvm.before[kvm.changes[i].first]);
        const auto [at, value] = hwv.changes[i];
        if (i == kvm.changes.size() || kvm.changes[i] != hwv.changes[i])
            return differ("with KVM memory at " + hex(at), kvm.after[at], value);
    }
    return {};
}

} // namespace conformance
