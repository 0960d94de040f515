// SPDX-License-Identifier: GPL-2.0-only
#include "machine/library.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <stdexcept>

namespace {

TEST(Library, FindsFunctions) {
    const machine::Library library{"libm.so.6", "--sums", "libc6"};
    double (*const root)(double) = library["sqrt"];
    EXPECT_EQ(root(81), 9);
    EXPECT_THROW((void)library["no_such_function"], std::runtime_error);
}

TEST(Library, SaysWhatToInstall) {
    try {
        const machine::Library library{"libnowhere.so.1", "--magic", "libnowhere1"};
        FAIL() << "there is such a library";
    } catch (const std::runtime_error &e) {
        EXPECT_NE(std::string{e.what()}.find("--magic wants libnowhere.so.1"), std::string::npos);
        EXPECT_NE(std::string{e.what()}.find("libnowhere1"), std::string::npos);
    }
}

} // namespace
