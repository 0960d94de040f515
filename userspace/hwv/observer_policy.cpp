// SPDX-License-Identifier: GPL-2.0-only
// observer_policy.cpp - the rules of an observer, and vCPUs that they stopped.
#include <sys/ioctl.h>
#include "hwv/error.hpp"
#include "hwv/observer.hpp"

namespace hwv {

BadRule::BadRule(int code, std::uint32_t rule, std::uint32_t field)
    : Error{code, "cannot set the policy: rule " + std::to_string(rule + 1) +
                      (code == EOPNOTSUPP ? " asks for an exit that this CPU cannot make"
                                          : " is wrong (byte " + std::to_string(field) + ")")},
      rule_{rule},
      field_{field} {}

void Observer::set_policy(std::span<const hwv_rule> rules, std::uint32_t stop_timeout_ms) {
    hwv_policy request{};
    request.count = static_cast<__u32>(rules.size());
    request.stop_timeout_ms = stop_timeout_ms;
    request.rules = reinterpret_cast<std::uintptr_t>(rules.data());
    if (::ioctl(fd(), HWV_POLICY_SET, &request) == 0) return;
    const int code = errno;
    if (code == EINVAL || code == EOPNOTSUPP)
        throw BadRule{code, request.bad_rule, request.bad_field};
    if (code == E2BIG)
        throw Error{code, "a policy has at most " + std::to_string(HWV_MAX_RULES) + " rules"};
    if (code == ESRCH) throw Error{code, "cannot set the policy: the VM has ended"};
    if (code == ENOTTY)
        throw Error{code, "this hwv.ko knows no rules: load the one of hwvctl's own build"};
    fail("set the policy", code);
}

std::vector<Rule> Observer::policy() const {
    std::vector<hwv_rule> rules(HWV_MAX_RULES);
    std::vector<hwv_rule_counts> counts(HWV_MAX_RULES);
    hwv_policy request{};
    request.count = HWV_MAX_RULES;
    request.rules = reinterpret_cast<std::uintptr_t>(rules.data());
    request.counts = reinterpret_cast<std::uintptr_t>(counts.data());
    if (::ioctl(fd(), HWV_POLICY_GET, &request) < 0) fail("read the policy");
    std::vector<Rule> out;
    for (std::uint32_t i = 0; i < request.count; ++i)
        out.push_back({rules[i], counts[i]});
    return out;
}

std::optional<hwv_stop> Observer::next_stop() const {
    hwv_stop stop{};
    if (::ioctl(fd(), HWV_STOP_GET, &stop) == 0) return stop;
    if (errno == EAGAIN) return std::nullopt;
    fail("ask which vCPU is stopped");
}

bool Observer::reply(const hwv_stop_reply &reply) {
    if (::ioctl(fd(), HWV_STOP_REPLY, &reply) == 0) return true;
    if (errno == ESTALE) return false;
    fail("reply to a stopped vCPU");
}

} // namespace hwv
