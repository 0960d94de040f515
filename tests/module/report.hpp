// SPDX-License-Identifier: GPL-2.0-only
// report.hpp - results in the protocol of tests/README.md.
#pragma once
#include <string>

void report(const std::string &name, bool passed, const std::string &why = {});
void skip(const std::string &name, const std::string &why);

// Passes when both are equal, else says both.
void expect(const std::string &name, long got, long wanted);

// The program's exit status: 0 when nothing failed.
int verdict();
