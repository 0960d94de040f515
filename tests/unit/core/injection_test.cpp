// SPDX-License-Identifier: GPL-2.0-only
// An exception while another is delivered, every pair: Intel SDM vol. 3 "Interrupt 8 - Double Fault
// Exception (#DF)", tables "Interrupt and Exception Classes" and "Conditions for Generating a
// Double Fault".
#include <gtest/gtest.h>
#include <set>
#include "core/injection.hpp"

namespace {

using namespace hwv;

enum class Class { benign, contributory, page_fault, double_fault };

// The manual's list, by vector. What it does not list is benign.
Class class_of(unsigned vector) {
    if (std::set<unsigned>{0, 10, 11, 12, 13}.contains(vector)) return Class::contributory;
    if (vector == 14) return Class::page_fault;
    return vector == 8 ? Class::double_fault : Class::benign;
}

enum class Becomes { second, double_fault, shutdown };

// Rows: the first; columns: the second, benign, contributory, page fault. (A second #DF is not in
// the table: only the CPU makes one, of two others.)
constexpr Becomes table[4][3] = {
    {Becomes::second, Becomes::second, Becomes::second},
    {Becomes::second, Becomes::double_fault, Becomes::second},
    {Becomes::second, Becomes::double_fault, Becomes::double_fault},
    {Becomes::second, Becomes::shutdown, Becomes::shutdown},
};

bool has_code(unsigned vector) {
    return std::set<unsigned>{8, 10, 11, 12, 13, 14, 17, 21}.contains(vector);
}

Event fault(unsigned vector, std::uint32_t code) {
    const auto number = static_cast<std::uint8_t>(vector);
    return has_code(vector) ? exception(number, code) : exception(number);
}

TEST(Combine, every_pair_of_exceptions) {
    for (unsigned a = 0; a < 32; ++a)
        for (unsigned b = 0; b < 32; ++b) {
            if (class_of(b) == Class::double_fault) continue;
            const Event second = fault(b, 0x42), result = combine(fault(a, 0x17), second);
            switch (table[static_cast<int>(class_of(a))][static_cast<int>(class_of(b))]) {
            case Becomes::second: EXPECT_EQ(result, second) << a << ' ' << b; break;
            case Becomes::double_fault:
                EXPECT_EQ(result, exception(vector::double_fault, 0)) << a << ' ' << b;
                EXPECT_TRUE(result.has_error_code);
                break;
            case Becomes::shutdown: EXPECT_EQ(result, Event{}) << a << ' ' << b; break;
            }
        }
}

TEST(Combine, events_that_are_no_exceptions_are_benign) {
    for (const hwv_event_type type :
         {HWV_EVENT_NONE, HWV_EVENT_INTERRUPT, HWV_EVENT_NMI, HWV_EVENT_SOFTWARE})
        for (unsigned number = 0; number < 256; ++number) {
            const Event first{type, static_cast<std::uint8_t>(number)};
            EXPECT_EQ(fault_class(first), FaultClass::benign) << type << ' ' << number;
            for (unsigned b = 0; b < 32; ++b)
                EXPECT_EQ(combine(first, fault(b, 7)), fault(b, 7)) << number << ' ' << b;
        }
}

TEST(Combine, a_second_double_fault_in_a_double_fault_is_the_end) {
    EXPECT_FALSE(combine(fault(8, 0), fault(8, 0)));
}

TEST(FaultClass, every_vector) {
    for (unsigned v = 0; v < 256; ++v)
        EXPECT_EQ(static_cast<int>(
                      fault_class({HWV_EVENT_EXCEPTION, static_cast<std::uint8_t>(v), false})),
                  static_cast<int>(class_of(v)))
            << v;
}

// Traps and aborts have no RF in their frame: #DB, #BP, #OF, #DF, #MC. AMD APM vol. 2 "RFLAGS.RF".
TEST(IsFault, every_vector) {
    const std::set<unsigned> no_fault{1, 3, 4, 8, 18};
    for (unsigned v = 0; v < 32; ++v) {
        const auto number = static_cast<std::uint8_t>(v);
        EXPECT_EQ(is_fault(exception(number)), !no_fault.contains(v)) << v;
        EXPECT_FALSE(is_fault({HWV_EVENT_INTERRUPT, number})) << v;
        EXPECT_FALSE(is_fault({HWV_EVENT_SOFTWARE, number})) << v;
        EXPECT_FALSE(is_fault({HWV_EVENT_NMI, number})) << v;
    }
}

} // namespace
