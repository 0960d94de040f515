// SPDX-License-Identifier: GPL-2.0-only
// growth.hpp - what the kernel holds now and held before: objects of each slab, pages, vmalloc. An
// object or page that is lost each time shows as the number of times.
#pragma once
#include <map>
#include <string>
#include <utility>

namespace growth {

using Counters = std::map<std::string, long>;

Counters read();

// The worst growth, after giving deferred frees (RCU, per-CPU lists) time to come below
// `tolerance`.
std::pair<std::string, long> worst(const Counters &before, long tolerance);

long module_references();

} // namespace growth
