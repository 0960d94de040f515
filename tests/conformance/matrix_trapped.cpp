// SPDX-License-Identifier: GPL-2.0-only
// matrix_trapped.cpp - the matrix once more, while an observer counts every exit that the CPU can
// make: the guest does not notice. matrix_trapped [REGEX]: cases whose name matches.
// timeout: 300
#include "conformance/framework.hpp"

int main(int count, char **words) {
    return conformance::run_topics(count > 1 ? words[1] : nullptr, true);
}
