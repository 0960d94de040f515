// SPDX-License-Identifier: GPL-2.0-only
// The module's C++ reads uapi headers through kmod/cxx-shim; programs through Linux's own headers.
// Both must say the same.
#include <cstdint>
#include <type_traits>
#include <gtest/gtest.h>
#include <linux/ioctl.h>
#include <linux/types.h>

namespace system_headers {
struct Probe {
    __u64 a[5];
};
constexpr std::uint32_t none = _IO('w', 1), in = _IOW('w', 2, Probe), out = _IOR('w', 3, Probe),
                        both = _IOWR('w', 4, Probe);
using U64 = __u64;
using S64 = __s64;
} // namespace system_headers

#undef _IO
#undef _IOR
#undef _IOW
#undef _IOWR
#undef _IOC
#undef _IOC_NONE
#undef _IOC_READ
#undef _IOC_WRITE
#undef _IOC_DIR
#undef _IOC_TYPE
#undef _IOC_NR
#undef _IOC_SIZE
#undef _IOC_TYPECHECK
#undef __aligned_u64
#undef __aligned_s64

namespace shim {
#include "cxx-shim/linux/types.h"
#include "cxx-shim/linux/ioctl.h"

struct Aligned {
    char c;
    __aligned_u64 v;
};
} // namespace shim

namespace {

using system_headers::Probe;

static_assert(std::is_same_v<shim::__u64, system_headers::U64>);
static_assert(std::is_same_v<shim::__s64, system_headers::S64>);

TEST(UapiShim, request_numbers_are_those_of_linux) {
    EXPECT_EQ(_IO('w', 1), system_headers::none);
    EXPECT_EQ(_IOW('w', 2, Probe), system_headers::in);
    EXPECT_EQ(_IOR('w', 3, Probe), system_headers::out);
    EXPECT_EQ(_IOWR('w', 4, Probe), system_headers::both);
}

TEST(UapiShim, requests_come_apart_into_what_made_them) {
    constexpr std::uint32_t request = _IOWR('w', 4, Probe);
    EXPECT_EQ(_IOC_DIR(request), _IOC_READ | _IOC_WRITE);
    EXPECT_EQ(_IOC_TYPE(request), static_cast<unsigned>('w'));
    EXPECT_EQ(_IOC_NR(request), 4u);
    EXPECT_EQ(_IOC_SIZE(request), sizeof(Probe));
}

TEST(UapiShim, aligned_types_are_aligned) {
    EXPECT_EQ(sizeof(shim::Aligned), 16u);
    EXPECT_EQ(alignof(shim::Aligned), 8u);
}

} // namespace
