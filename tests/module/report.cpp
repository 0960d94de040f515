// SPDX-License-Identifier: GPL-2.0-only
#include "module/report.hpp"
#include <cstdio>

namespace {
int failures = 0;
}

void report(const std::string &name, bool passed, const std::string &why) {
    if (passed) {
        std::printf("ok %s\n", name.c_str());
    } else {
        std::printf("not ok %s - %s\n", name.c_str(), why.c_str());
        ++failures;
    }
    std::fflush(stdout);
}

void skip(const std::string &name, const std::string &why) {
    std::printf("skip %s - %s\n", name.c_str(), why.c_str());
    std::fflush(stdout);
}

void expect(const std::string &name, long got, long wanted) {
    report(name, got == wanted,
           "got " + std::to_string(got) + ", wanted " + std::to_string(wanted));
}

int verdict() { return failures ? 1 : 0; }
