// SPDX-License-Identifier: GPL-2.0-only
// matrix.cpp - every topic's cases. matrix [REGEX]: those whose name matches.
// timeout: 300
#include "conformance/framework.hpp"

int main(int count, char **words) {
    return conformance::run_topics(count > 1 ? words[1] : nullptr);
}
