#pragma once
#include <cstdint>
namespace hwv::cpu { struct Hypercall { std::uint64_t nr; std::uint64_t args[4]; unsigned cpl; bool long_mode; }; struct HypercallResult { bool known; std::int64_t value; }; template <class V> HypercallResult hypercall(const Hypercall&, V&) { return {}; } }
