// SPDX-License-Identifier: GPL-2.0-only
// regs.cpp - hwvctl regs: a vCPU's registers, read and set.
#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include "hwvctl/live.hpp"
#include "hwvctl/options.hpp"
#include "hwvctl/registers.hpp"

namespace hwvctl {
namespace {

namespace po = boost::program_options;

constexpr const char *what =
    "Shows the registers of a vCPU. The VM is paused for that moment, and goes on afterwards.\n"
    "With --set they are changed first: general registers, rip, rflags, cr0, cr2, cr3, cr4, cr8,\n"
    "efer, xcr0, apic_base, dr0 to dr3, dr6, dr7. What the CPU would refuse changes nothing.\n";

constexpr const char *examples = R"(
examples:
  hwvctl regs web
  hwvctl regs web --vcpu 1 --json
  hwvctl regs web --set rip=0x100000 --set rax=1
)";

nlohmann::json segment_json(const hwv_segment &s) {
    return {{"selector", s.selector},
            {"base", s.base},
            {"limit", s.limit},
            {"attributes", s.attributes}};
}

nlohmann::json to_json(const hwv_regs &regs) {
    nlohmann::json out;
    for (const Register &r : registers())
        out[r.name] = value(regs, r);
    for (unsigned i = 0; i < HWV_SEGMENTS; ++i)
        out[segment_names[i]] = segment_json(regs.segment[i]);
    out["gdtr"] = {{"base", regs.gdtr.base}, {"limit", regs.gdtr.limit}};
    out["idtr"] = {{"base", regs.idtr.base}, {"limit", regs.idtr.limit}};
    return out;
}

} // namespace

int regs_command(const Arguments &arguments) {
    Options options{"regs VM [OPTIONS]", std::string{what} + vm_argument, examples};
    options.add()("vcpu", po::value<std::uint32_t>()->default_value(0)->value_name("N"),
                  "which vCPU")("json", "for programs")(
        "set", po::value<std::vector<std::string>>()->composing()->value_name("NAME=VALUE"),
        "change a register; may be repeated");
    const std::optional<Words> words = options.parse(arguments, 1, 1);
    if (!words) return 0;
    std::vector<std::string> changes;
    if (words->has("set")) changes = words->get<std::vector<std::string>>("set");
    hwv_regs checked{};
    for (const std::string &change : changes)
        assign(checked, change); // wrong usage is said before anything is paused
    const auto vcpu = words->get<std::uint32_t>("vcpu");
    hwv::Observer observer = hwv::attach(words->words[0]);
    observer.pause();
    hwv_regs regs = observer.registers(vcpu);
    std::uint32_t groups = 0;
    for (const std::string &change : changes)
        groups |= assign(regs, change);
    if (groups) observer.set_registers(vcpu, groups, regs);
    fmt::print("{}", words->has("json") ? json_text(to_json(regs)) + "\n" : register_text(regs));
    return 0;
}

} // namespace hwvctl
