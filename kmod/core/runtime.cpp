// SPDX-License-Identifier: GPL-2.0-only
// runtime.cpp - the whole C++ run time of the module.
#include <cstddef>
#include <new>
#include "host.h"

namespace {

// objtool knows noreturn functions by name or by seeing their end; BUG() behind a C function is
// neither, so end in UD2.
[[noreturn, gnu::always_inline]] inline void fatal() {
    hwv_host_bug();
    __builtin_trap();
}

} // namespace

// Memory is zeroed and charged to the caller's memcg, and may be short: only the nothrow form is
// there, and a plain `new` does not link.
void *operator new(std::size_t size, const std::nothrow_t &) noexcept {
    return hwv_host_alloc(size);
}

void *operator new[](std::size_t size, const std::nothrow_t &) noexcept {
    return hwv_host_alloc(size);
}

void operator delete(void *p) noexcept { hwv_host_free(p); }

void operator delete(void *p, std::size_t) noexcept { hwv_host_free(p); }

void operator delete(void *p, const std::nothrow_t &) noexcept { hwv_host_free(p); }

void operator delete[](void *p) noexcept { hwv_host_free(p); }

void operator delete[](void *p, std::size_t) noexcept { hwv_host_free(p); }

void operator delete[](void *p, const std::nothrow_t &) noexcept { hwv_host_free(p); }

namespace std {
const nothrow_t nothrow{};

[[noreturn]] void terminate() noexcept;
[[noreturn]] void terminate() noexcept { fatal(); }

// What libstdc++'s own assertions call.
[[noreturn]] void __glibcxx_assert_fail(const char *, int, const char *, const char *) noexcept;
[[noreturn]] void __glibcxx_assert_fail(const char *, int, const char *, const char *) noexcept {
    fatal();
}
} // namespace std

// What the compiler calls: a pure virtual function, and the unreachable end of others.
extern "C" [[noreturn]] void __cxa_pure_virtual();
extern "C" [[noreturn]] void __cxa_pure_virtual() { fatal(); }

extern "C" [[noreturn]] void abort();
extern "C" [[noreturn]] void abort() { fatal(); }
