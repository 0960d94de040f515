// SPDX-License-Identifier: GPL-2.0-only
#include "conformance/framework.hpp"
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <unistd.h>

namespace conformance {
namespace {

constexpr std::uint32_t groups =
    HWV_REGS_GPR | HWV_REGS_SEGMENT | HWV_REGS_CONTROL | HWV_REGS_DEBUG | HWV_REGS_EVENT;
constexpr unsigned most_exits = 1000;

Access to_access(const hwv_exit &e) {
    if (e.reason == HWV_EXIT_IO)
        return {Access::io, e.io.port, e.io.size, e.io.write != 0, e.io.write ? e.io.data : 0};
    if (e.reason == HWV_EXIT_MMIO)
        return {Access::mmio, e.mmio.gpa, e.mmio.size, e.mmio.write != 0,
                e.mmio.write ? e.mmio.data : 0};
    return {Access::other, e.reason, 0, false};
}

// Vectors 8, 10-14, 17 and 21 push an error code; not in real mode.
bool has_error_code(int vector) {
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
}

Frame read_frame(const Result &r, Mode mode) {
    Frame f;
    std::uint64_t at = r.end.gpr[HWV_RSP];
    const unsigned word = mode == Mode::real ? 2 : in(long_modes, mode) ? 8 : 4;
    const auto next = [&] {
        const std::uint64_t value = at + word <= r.after.size() ? load(r.after, at, word) : ~0ull;
        at += word;
        return value;
    };
    if (word != 2 && has_error_code(r.vector)) f.error = static_cast<std::uint32_t>(next());
    f.rip = next();
    f.cs = next();
    f.rflags = next();
    f.rsp = word == 8 || in(user_modes, mode) ? next() : at;
    return f;
}

// The halt of a handler: which vector's.
int handler_of(std::uint64_t rip) {
    if (rip < at_handlers || rip >= at_handlers + 256 * handler_size) return no_vector;
    return static_cast<int>((rip - 1 - at_handlers) / handler_size);
}

} // namespace

std::string hex(std::uint64_t value) {
    char text[20];
    std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(value));
    return text;
}

bool on_qemu72() {
    static const bool yes = oracle::firmware_says("product_version").ends_with("-7.2");
    return yes;
}

bool on_bochs_svm() {
    static const bool yes = !on_intel() && oracle::on_bochs();
    return yes;
}

bool on_bochs_vmx() {
    static const bool yes = on_intel() && oracle::on_bochs();
    return yes;
}

Result run_once(TestVm &vm, const Case &c) {
    Result r;
    auto memory = vm.memory();
    r.start = prepare(memory, c.mode);
    std::copy(c.code.begin(), c.code.end(), memory.begin() + static_cast<long>(c.at));
    r.start.rip = c.at;
    if (c.prepare) c.prepare(r.start, memory);
    r.before.assign(memory.begin(), memory.begin() + used_memory);
    const hwv_regs now = vm.regs();
    r.start.apic_base = now.apic_base;
    vm.set_regs(r.start, groups);
    if (c.before) c.before(vm);
    ::alarm(1);
    for (unsigned n = 0; n < most_exits; ++n) {
        const hwv_exit e = vm.run();
        if (e.reason == HWV_EXIT_HLT) break;
        Access a = to_access(e);
        const auto reply = r.accesses.size();
        if (a.kind != Access::other && !a.write && reply < c.expect.accesses.size()) {
            a.data = c.expect.accesses[reply].data;
            vm.reply(a.data);
        }
        r.accesses.push_back(a);
        if (c.on_exit) c.on_exit(vm, a);
        if (e.reason == HWV_EXIT_SHUTDOWN) r.vector = shut_down;
        if (a.kind == Access::other || (a.kind == Access::io && a.address == c.stop_port)) break;
    }
    ::alarm(0);
    if (r.vector == shut_down) r.accesses.pop_back();
    r.end = vm.regs();
    r.after.assign(memory.begin(), memory.begin() + used_memory);
    for (std::uint64_t at = 0; at < used_memory; ++at)
        if (r.before[at] != r.after[at]) r.changes.emplace_back(at, r.after[at]);
    if (r.vector != shut_down) r.vector = handler_of(r.end.rip);
    if (r.vector >= 0) r.frame = read_frame(r, c.mode);
    return r;
}

} // namespace conformance
