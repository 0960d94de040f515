// SPDX-License-Identifier: GPL-2.0-only
#include "hwv/programs.hpp"
#include <sys/ioctl.h>
#include "hwv/error.hpp"

namespace hwv {
namespace {

const char *explain(hwv_program_refusal why, int code) {
    switch (why) {
    case HWV_PROGRAM_TYPE: return "it is no writable raw tracepoint: SEC(\"raw_tp.w/hwv\")";
    case HWV_PROGRAM_SLEEPABLE: return "it may sleep";
    case HWV_PROGRAM_CONTEXT: return "it reaches beyond struct hwv_program_context";
    case HWV_PROGRAM_TAIL_CALLS:
        return "it has a map of programs to call, which nobody would check";
    case HWV_PROGRAM_REASONS:
        return code == EOPNOTSUPP ? "this CPU cannot make exits of one of its reasons"
                                  : "an exit reason is unknown, or there is none";
    case HWV_PROGRAM_ROOM: return "the VM has as many programs as it can have";
    case HWV_PROGRAM_OK: break;
    }
    return nullptr;
}

} // namespace

std::uint64_t attach_program(const Observer &observer, int program, std::uint64_t reasons,
                             std::uint64_t replaced) {
    hwv_program_attach request{.fd = program,
                               .flags = replaced ? HWV_PROGRAM_REPLACE : 0,
                               .reasons = reasons,
                               .id = replaced};
    if (::ioctl(observer.fd(), HWV_PROGRAM_ATTACH, &request) == 0) return request.id;
    const int code = errno;
    if (const char *why = explain(static_cast<hwv_program_refusal>(request.refused), code))
        throw Error{code, std::string{"the program is refused: "} + why};
    fail("attach the program", code);
}

void detach_program(const Observer &observer, std::uint64_t id) {
    __u64 request = id;
    if (::ioctl(observer.fd(), HWV_PROGRAM_DETACH, &request) < 0)
        fail("detach program " + std::to_string(id));
}

std::vector<hwv_program_entry> programs(const Observer &observer) {
    std::vector<hwv_program_entry> entries(HWV_MAX_PROGRAMS);
    hwv_program_list request{.count = HWV_MAX_PROGRAMS,
                             .reserved = 0,
                             .entries = reinterpret_cast<std::uint64_t>(entries.data())};
    if (::ioctl(observer.fd(), HWV_PROGRAM_LIST, &request) < 0) fail("list the VM's programs");
    entries.resize(request.count);
    return entries;
}

} // namespace hwv
