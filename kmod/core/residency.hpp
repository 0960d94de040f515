// SPDX-License-Identifier: GPL-2.0-only
// residency.hpp - which VM was the last of hwv's on each CPU: another one must not find its branch
// history there.
#pragma once
#include "core/backend.hpp"
#include "core/vcpu.hpp"

namespace hwv::residency {

Status init(); // process context, at module load
void exit();
LoadContext arrive(Vcpu &vcpu, std::uint32_t cpu); // preemption off, on `cpu`

} // namespace hwv::residency
