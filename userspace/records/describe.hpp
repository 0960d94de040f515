// SPDX-License-Identifier: GPL-2.0-only
// describe.hpp - an exit in words: what its key and data mean, by reason.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include "hwv.h"
#include "records/key_names.hpp"

namespace records {

// "port 0x3f8 (COM1)", "msr 0x6e0 (TSC_DEADLINE)", "leaf 0xb"; empty for reasons without a key.
std::string describe_key(unsigned reason, std::uint64_t key);

// "out 0x41", "wrote 0x1"; empty where there is nothing to say.
std::string describe_data(const hwv_record &record);

// "io port 0x3f8 (COM1) out 0x41"
std::string describe(const hwv_record &record);

// What its flags say of the time: "user,halted"; empty for none.
std::string describe_flags(const hwv_record &record);

// The text or number of a guest's mark (see hwv_guest.h), for records that are one.
std::optional<std::string> mark_text(const hwv_record &record);

// The number of a reason by its name, or by a number in words ("12").
std::optional<unsigned> reason_by_name(const std::string &name);

inline bool has_key(unsigned reason) { return *key_kind(reason) != 0; }

// Cycles from exit to entry; 0 for a record whose times are the wrong way round.
inline std::uint64_t took(const hwv_record &r) {
    return r.tsc_entry > r.tsc_exit ? r.tsc_entry - r.tsc_exit : 0;
}
// Cycles of a TSC of that frequency in nanoseconds; what does not fit is the most that does.
inline std::uint64_t nanoseconds(std::uint64_t cycles, std::uint32_t tsc_khz) {
    const auto ns = static_cast<unsigned __int128>(cycles) * 1'000'000 / tsc_khz;
    return ns >> 64 ? ~0ull : static_cast<std::uint64_t>(ns);
}
// Its time is not the exit's alone: the vCPU waited for somebody.
inline bool waited(const hwv_record &r) {
    return r.flags &
           (HWV_RECORD_TO_USER | HWV_RECORD_HALTED | HWV_RECORD_DESCHEDULED | HWV_RECORD_STOPPED);
}
inline unsigned cpl(const hwv_record &r) { return r.flags & HWV_RECORD_CPL; }

} // namespace records
