// SPDX-License-Identifier: GPL-2.0-only
// arch.hpp - kmod/svm/arch.hpp on a machine that the test owns.
#pragma once
#include "core/arch.hpp"
#include "svm/msr.hpp"

namespace hwv::svm {

inline bool vmsave(std::uint64_t pa) { return fake::hardware().vmsave(pa); }
inline void stgi() { fake::hardware().here().gif = true; }

} // namespace hwv::svm
