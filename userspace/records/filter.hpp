// SPDX-License-Identifier: GPL-2.0-only
// filter.hpp - which records are wanted.
//
//   filter := term (blank or ';' term)...     all of them must hold
//   term   := field op value[,value...] | user | halted | descheduled | stopped | ruled |
//   unfinished | !word field  := reason | key | data | rip | cr3 | cpl | vcpu | took op     := = |
//   != and for took also < | > value  := a reason's name | number | first-last | duration (10us,
//   500ns, 1ms, 2s)
#pragma once
#include <cstdint>
#include <string>
#include <vector>
#include "hwv.h"

namespace records {

class Filter {
  public:
    Filter() = default; // everything
    // Throws std::invalid_argument with what is wrong and where.
    static Filter parse(const std::string &text);

    bool matches(const hwv_record &record, std::uint32_t tsc_khz) const;
    // Bit per reason that can match: what the kernel need not record.
    std::uint64_t reasons() const { return reasons_; }

  private:
    enum class Field { reason, key, data, rip, cr3, cpl, vcpu, took, flag };
    struct Range {
        std::uint64_t first, last;
    };
    struct Term {
        Field field;
        bool negated = false;
        std::vector<Range> ranges; // one of them; took: in nanoseconds; flag: bits
    };
    static Term parse_term(const std::string &text);
    static Term parse_flag(const std::string &word);
    static Range parse_range(Field field, const std::string &text);
    static Range parse_took(char op, const std::string &text);
    static bool holds(const Term &term, const hwv_record &record, std::uint32_t tsc_khz);

    std::vector<Term> terms_;
    std::uint64_t reasons_ = ~0ull;
};

} // namespace records
